"""What the training scripts do around a run: reports, errors, exit status."""

import argparse
import os
import sys
import time
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional

from tensorpack.tfutils.tower import TowerContext
from tensorpack.utils.utils import fix_rng_seed

from sspq.compat import tf
from sspq.errors import USER_ERRORS, line_of, told_whole
from sspq.report.environment import versions
from sspq.report.size import information_density, model_size
from sspq.training.console import quieten
from sspq.training.history import Row
from sspq.training.run_folder import die_with_parent

Report = Dict[str, Any]


def seed_everything(seed: int) -> None:
    """Initial values and all else that is drawn. The data has seeds of its own."""
    fix_rng_seed(seed)
    tf.set_random_seed(seed)


def variables_of(model: Any) -> List[Any]:
    """The model's trainable variables, from the graph that was trained if there is one."""
    if not tf.trainable_variables():
        with TowerContext("", is_training=False):
            model.build_graph(*[tf.placeholder(s.dtype, s.shape) for s in model.inputs()])
    return [(v.op.name, tuple(v.shape.as_list())) for v in tf.trainable_variables()]


def result(
    model: Any, measured: Dict[str, Any], centres: Mapping[str, int] = MappingProxyType({})
) -> Report:
    """What was measured, with the sizes that belong to it and the versions that computed it.

    ``centres``: see :func:`sspq.report.size.model_size`.
    """
    size = model_size(variables_of(model), model.weight_bits, centres)
    top1 = measured.get("top1")
    return dict(
        measured,
        trainable_parameters=size.parameters,
        float32_bytes=size.float32_bytes,
        quantized_bytes=size.quantized_bytes,
        information_density=information_density(top1 or 0, size.quantized_bytes),
        versions=versions(),
    )


def of_history(rows: List[Row]) -> Report:
    """What a finished run measured."""
    last = rows[-1]
    return {
        "top1": last["top1"],
        "top5": last["top5"],
        "epochs": len(rows),
        "seconds": sum(r["seconds"] for r in rows),
    }


def _line(name: str, report: Report, seconds: float) -> str:
    weights = report.get("slq", report["bits"])["weights"]
    parts = [f"{name}  W{weights} A{report['bits']['activations']}"]
    if report.get("top1") is not None:
        parts.append(f"top-1 {report['top1']:.2f} %  top-5 {report['top5']:.2f} %")
    return "  ".join(parts + [f"({seconds:.0f} s)"])


def main(name: str, args: argparse.Namespace, run: Callable[[], Optional[Report]]) -> int:
    """Runs a script's work; user errors give one line and exit status 2.

    Args:
        name: of the step.
        args: of the command line; ``gpu`` is set before TensorFlow looks for GPUs.
        run: does the work and returns the report; None if there is none to print.
    """
    die_with_parent()
    tf.logging.set_verbosity(tf.logging.ERROR)
    quieten()
    if args.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = args.gpu
    start = time.time()
    script = os.path.basename(sys.argv[0])
    try:
        report = run()
    except USER_ERRORS as e:
        if told_whole():
            raise
        print(f"{script}: {line_of(e, args.batch)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        how = "" if args.eval else f"; --resume goes on with {args.log}"
        print(f"{script}: interrupted{how}", file=sys.stderr)
        return 130
    if report is not None:
        print(_line(name, report, time.time() - start))
    return 0
