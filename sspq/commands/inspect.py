"""``python -m sspq inspect``: what is in a packed file."""

import argparse
import json
import os
from typing import Any, Dict

import numpy as np
from tabulate import tabulate

from sspq.commands.output import size_line
from sspq.export.packed import container
from sspq.export.packed.encoding import decode
from sspq.export.packed.pack import unpack


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", help="packed file")
    p.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> None:
    packed = container.read(args.file)
    unpack(packed)  # refuses what is not the model's
    tensors: Dict[str, Dict[str, Any]] = {
        name: {
            "scheme": t.scheme,
            "bits": t.bits,
            "shape": list(t.shape),
            "bytes": t.nbytes,
            "values": len(np.unique(decode(t))),
        }
        for name, t in packed.tensors.items()
    }
    size = os.path.getsize(args.file)
    if args.json:
        about = {"model": packed.model, "facts": packed.facts, **packed.about, "file_bytes": size}
        print(json.dumps(dict(about, tensor_bytes=packed.nbytes, tensors=tensors), indent=2))
        return
    rows = [
        (
            name,
            t["scheme"],
            t["bits"],
            "x".join(str(n) for n in t["shape"]),
            t["bytes"],
            t["values"],
        )
        for name, t in tensors.items()
    ]
    print(tabulate(rows, ("tensor", "scheme", "bits", "shape", "bytes", "values")))
    print(f"\n{json.dumps(packed.model)}\n{json.dumps(packed.facts)}")
    print(size_line(args.file, size, packed))
