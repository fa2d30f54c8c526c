"""Checkpoint to packed model, and packed model to the values that the graph computes with."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from sspq import models
from sspq.analysis.environment import versions
from sspq.analysis.layers import LINEAR, NORM, Layer, inference_graph, read_layers
from sspq.checkpoints.source import Checkpoint, Values, read_values
from sspq.export.packed.container import Packed, PackedFileError
from sspq.export.packed.encoding import (
    MOST_BITS,
    Encoded,
    EncodingError,
    decode,
    encode_codebook,
    encode_float,
    encode_quantized,
    encode_uniform,
)
from sspq.models.classifier import Classifier
from sspq.quantizers.scope import WeightBits

RESTS = ("float32", "float16")

# A batch normalization is stored as one tensor, its variables as rows in this order; folded, as its
# factor and offset alone. After its scope, its name has a star, as no variable's has.
_NORM_PARTS = ("gamma", "beta", "mean/EMA", "variance/EMA")
_FOLDED_PARTS = ("factor", "offset")
_ALL_PARTS = "/*"


def pack(
    source: Checkpoint,
    fold_bn: bool = False,
    rest: str = "float32",
    linear_bits: Optional[int] = None,
) -> Packed:
    """Encodes a checkpoint.

    Quantized kernels, and those of few different values, come back bit by bit as the graph computes
    with them. Those of more than 8 bits are stored as ``rest``, as is all that is not quantized.

    Args:
        source: the checkpoint and its model.
        fold_bn: whether a batch normalization is stored as the factor
            ``gamma / sqrt(variance + epsilon)`` and the offset ``beta - mean * factor`` (default:
            False). That is exact up to float32 rounding.
        rest: type of all that is not quantized, "float32" (default), or "float16", which rounds.
        linear_bits: bits, 2 to 8, to which the kernel of the last linear layer is rounded with a
            scale for each output, if the graph does not quantize it (default: None).

    Raises:
        ValueError: an option does not apply, or the checkpoint belongs to another model or has
            values that are not finite.
    """
    if rest not in RESTS:
        raise ValueError(f"`rest` must be one of {RESTS}, got {rest!r}")
    model = source.model
    graph = inference_graph(model)
    layers = read_layers(model, graph)
    variables, quantized = read_values(source, graph)
    check_finite(source, variables)
    tensors: Dict[str, Encoded] = {}
    for name, values in quantized.items():
        bits = model.weight_bits.of(name)
        if bits <= MOST_BITS:
            tensors[name] = encode_quantized(values, bits)
    if linear_bits is not None:
        kernel = _last_kernel(layers)
        if kernel in quantized:
            raise ValueError(
                f"`linear_bits`: the graph quantizes {kernel} to "
                f"{model.weight_bits.of(kernel)} bits itself"
            )
        tensors[kernel] = encode_uniform(variables[kernel], linear_bits)
    used = {**variables, **quantized}
    for scope, epsilon in _norms(layers):
        rows = [used.pop(f"{scope}/{part}") for part in _NORM_PARTS]
        stacked = fold_norm(rows, epsilon) if fold_bn else np.stack(rows)
        tensors[scope + _ALL_PARTS] = encode_float(stacked, rest)
    for name, values in used.items():
        if name not in tensors:
            tensors[name] = encode_codebook(values) or encode_float(values, rest)
    facts: Dict[str, Any] = {"versions": versions()}
    if source.top1 is not None:
        facts["checkpoint_top1"] = source.top1
    about = {
        "batch_norm": _about_norms(_norms(layers), fold_bn),
        "preprocessing": model.preprocessing.describe(),
        "classes": {"count": model.num_classes, "names": None},
    }
    return Packed(models.identity(model), dict(sorted(tensors.items())), facts, about=about)


def _about_norms(norms: List[Tuple[str, float]], folded: bool) -> Dict[str, Any]:
    epsilons = sorted({epsilon for _, epsilon in norms})
    if len(epsilons) > 1:
        raise ValueError(f"batch normalizations must have one epsilon to be packed, got {epsilons}")
    rows = _FOLDED_PARTS if folded else _NORM_PARTS
    return {"rows": list(rows), "epsilon": epsilons[0]} if epsilons else {}


def check_finite(source: Checkpoint, variables: Values) -> None:
    """Raises ValueError, naming the variable, if one of a checkpoint's has NaN or infinities."""
    for name, values in sorted(variables.items()):
        count = np.size(values) - np.count_nonzero(np.isfinite(values))
        if count:
            raise ValueError(
                f"{source.prefix}: of {name}, {count} of {np.size(values)} values are NaN or "
                "infinite: the network has diverged"
            )


class Unpacked(NamedTuple):
    """What a packed file holds.

    Attributes:
        model: without weight quantizers.
        values: values of all its variables, see :func:`values_of`.
        graph: graph that infers any number of images with the model; its variables have no values
            yet.
    """

    model: Classifier
    values: Values
    graph: Any


def unpack(packed: Packed, **settings: Any) -> Unpacked:
    """The model of a packed file and all its values.

    Args:
        packed: a file's content.
        settings: arguments of the model's constructor, ``data_format`` for instance.

    Raises:
        PackedFileError: the tensors are not those of the model.
    """
    model = model_of(packed, **settings)
    graph = inference_graph(model, None)
    return Unpacked(model, values_of(packed, read_layers(model, graph)), graph)


def model_of(packed: Packed, **settings: Any) -> Classifier:
    """The model of :func:`unpack` alone."""
    try:
        model = models.rebuild(packed.model, **settings)
        _check_plausible(model, packed)
    except ValueError as e:
        raise PackedFileError(f"{packed.origin}: {e}") from e
    model.weight_bits = WeightBits(())
    return model


def values_of(packed: Packed, layers: List[Layer]) -> Values:
    """The values of all variables of the model with these ``layers``.

    The kernels have the values that the quantizers gave. A folded batch normalization has a mean
    of 0 and a variance of 1 - epsilon.

    Raises:
        PackedFileError: the tensors are not those of the model.
    """
    try:
        return _values(packed, layers)
    except EncodingError as e:
        raise PackedFileError(f"{packed.origin}: {e}") from e


def _values(packed: Packed, layers: List[Layer]) -> Values:
    shapes = {name: shape for layer in layers for name, shape, _ in layer.variables}
    values: Values = {}
    left = dict(packed.tensors)
    for scope, epsilon in _norms(layers):
        name = scope if scope in left else scope + _ALL_PARTS  # the former in format 2
        if name not in left:
            raise EncodingError(f"lacks {name}")
        values.update(_norm_values(scope, left.pop(name), epsilon))
    for name, tensor in left.items():
        if shapes.get(name) != tensor.shape:
            expected = shapes.get(name, "no such tensor")
            raise EncodingError(
                f"{name!s:.100} is {tensor.shape} in the packed model, expected {expected}"
            )
        values[name] = _decoded(name, tensor)
    for name, shape in shapes.items():
        if name not in values or values[name].shape != shape:
            raise EncodingError(f"lacks {name} of shape {shape}")
    return values


def _check_plausible(model: Classifier, packed: Packed) -> None:
    """Before a graph is built: TensorFlow fails badly on sizes beyond any file."""
    classes = {shape[-1] for shape in (t.shape for t in packed.tensors.values()) if shape}
    if model.num_classes not in classes:
        raise EncodingError(f"no tensor has the model's {model.num_classes} classes")
    if getattr(model, "image_size", 1) > 2**14:
        raise EncodingError(f"the model's images have {model.image_size} pixels")


def _norms(layers: List[Layer]) -> List[Tuple[str, float]]:
    """Scope and epsilon of each batch normalization with all its variables."""
    found = []
    for layer in layers:
        names = {name for name, _, _ in layer.variables}
        if layer.kind == NORM and names == {f"{layer.name}/{p}" for p in _NORM_PARTS}:
            found.append((layer.name, float(layer.epsilon or 0)))
    return found


def _last_kernel(layers: List[Layer]) -> str:
    linear = [layer for layer in layers if layer.kind == LINEAR]
    kernels = [n for n, shape, _ in (linear[-1].variables if linear else ()) if len(shape) == 2]
    if len(kernels) != 1:
        raise ValueError("`linear_bits`: the model has no linear layer that it applies to")
    return kernels[0]


def fold_norm(rows: List[np.ndarray], epsilon: float) -> np.ndarray:
    """Factor and offset, float32 ``[2, C]``, of a norm's gamma, beta, mean and variance."""
    gamma, beta, mean, variance = [row.astype(np.float64) for row in rows]
    factor = gamma / np.sqrt(variance + epsilon)
    return np.stack([factor, beta - mean * factor]).astype(np.float32)


def _norm_values(scope: str, tensor: Encoded, epsilon: float) -> Values:
    rows = _decoded(scope, tensor)
    if tensor.scheme != "float" or rows.ndim != 2 or len(rows) not in (2, 4):
        raise EncodingError(
            f"{scope}: a batch normalization must be [2, channels] or [4, channels], got "
            f"{tensor.scheme} {list(tensor.shape)}"
        )
    if len(rows) == 2:
        ones = np.ones(rows.shape[1], np.float32)
        rows = np.stack([rows[0], rows[1], 0 * ones, np.float32(1 - epsilon) * ones])
    return {f"{scope}/{part}": row for part, row in zip(_NORM_PARTS, rows)}


def _decoded(name: str, tensor: Encoded) -> np.ndarray:
    try:
        return decode(tensor)
    except EncodingError as e:
        raise EncodingError(f"{name}: {e}") from e
