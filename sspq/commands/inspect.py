"""``python -m sspq inspect``: the content of a packed file."""

import argparse
import json
import os
from typing import Any, Dict

import numpy as np
from tabulate import tabulate

from sspq.commands.output import size_line
from sspq.export.packed import container
from sspq.export.packed.encoding import Encoded, decode
from sspq.export.packed.pack import unpack

_COLUMNS = ("scheme", "bits", "shape", "bytes", "values")


def add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", metavar="FILE", help="packed file")
    p.add_argument("--json", action="store_true", help="JSON instead of text")


def run(args: argparse.Namespace) -> None:
    packed = container.read(args.file)
    unpack(packed)  # refuses tensors that are not those of the model
    tensors = {name: _described(tensor) for name, tensor in packed.tensors.items()}
    size = os.path.getsize(args.file)
    if args.json:
        content = {
            "model": packed.model,
            "facts": packed.facts,
            **packed.about,
            "file_bytes": size,
            "tensor_bytes": packed.nbytes,
            "tensors": tensors,
        }
        print(json.dumps(content, indent=2))
        return
    for tensor in tensors.values():
        tensor["shape"] = "x".join(str(n) for n in tensor["shape"])
    rows = [(name, *(tensor[column] for column in _COLUMNS)) for name, tensor in tensors.items()]
    print(tabulate(rows, ("tensor", *_COLUMNS)))
    print(f"\n{json.dumps(packed.model)}\n{json.dumps(packed.facts)}")
    print(size_line(args.file, size, packed))


def _described(tensor: Encoded) -> Dict[str, Any]:
    """The columns of a tensor; ``values`` is the number of its different values."""
    return {
        "scheme": tensor.scheme,
        "bits": tensor.bits,
        "shape": list(tensor.shape),
        "bytes": tensor.nbytes,
        "values": len(np.unique(decode(tensor))),
    }
