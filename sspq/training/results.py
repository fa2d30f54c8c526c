"""What the training scripts do around a run: reports, errors, exit status."""

from types import MappingProxyType
from typing import Any, Dict, List, Mapping

from tensorpack.tfutils.tower import TowerContext

from sspq.analysis.environment import versions
from sspq.analysis.size import information_density, model_size
from sspq.compat import tf
from sspq.runs.history import Row

Report = Dict[str, Any]


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

    ``centres``: see :func:`sspq.analysis.size.model_size`.
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


def results_from_history(rows: List[Row]) -> Report:
    """What a finished run measured."""
    last = rows[-1]
    return {
        "top1": last["top1"],
        "top5": last["top5"],
        "epochs": len(rows),
        "seconds": sum(r["seconds"] for r in rows),
    }
