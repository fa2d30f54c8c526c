"""The part of a report that follows from a model and from what was measured."""

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
    """The measurements of a model, with its sizes and the versions that computed them.

    Args:
        model: network, a :class:`sspq.models.classifier.Classifier`.
        measured: top-1 and whatever else the report is to hold.
        centres: numbers of centres by variable, see :func:`sspq.analysis.size.model_size`
            (default: none).
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
    """The measurements of a finished run: those of its last epoch, and its time."""
    last = rows[-1]
    return {
        "top1": last["top1"],
        "top5": last["top5"],
        "epochs": len(rows),
        "seconds": sum(r["seconds"] for r in rows),
    }
