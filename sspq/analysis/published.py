"""Published sizes of networks, beside those of their graphs."""

from typing import Optional

from sspq.analysis import results
from sspq.analysis.layers import inference_graph
from sspq.analysis.size import MIB, ModelSize, model_size
from sspq.models.classifier import Classifier
from sspq.models.registry import MODELS, build


def trainable_size(model: Classifier) -> ModelSize:
    """:func:`sspq.analysis.size.model_size` of a model."""
    variables = inference_graph(model).get_collection("trainable_variables")
    return model_size([(v.op.name, tuple(v.shape.as_list())) for v in variables], model.weight_bits)


def compare_with_published(name: str) -> Optional[str]:
    """The published size beside that of the graph, as one line.

    Args:
        name: name of a model in :data:`sspq.models.MODELS`.

    Returns:
        The line, None if no size was published for the model.
    """
    published = MODELS[name].published
    if published is None:
        return None
    row = next(r for r in results.published() if r.name == published.row)
    size = trainable_size(build(name, **published.settings)).quantized_bytes / MIB
    return (
        f"published       {row.mb:.2f} MB at {row.top1:.2f} % top-1; the graph has {size:.3f} MiB "
        f"({100 * (size / row.mb - 1):+.2f} %): {published.note}"
    )
