"""The range of every tensor of an ONNX graph on given images."""

import os
import tempfile
from typing import Any, Dict, Iterable, Iterator, Sequence, Tuple

import numpy as np

from sspq.export.onnx.builder import ExportError

Ranges = Dict[str, Tuple[float, float]]


class _Batches:
    """Images as the calibration of onnxruntime reads them."""

    def __init__(self, batches: Iterable[np.ndarray], name: str) -> None:
        self._batches: Iterator[np.ndarray] = iter(batches)
        self._name = name

    def get_next(self) -> Dict[str, np.ndarray]:
        images = next(self._batches, None)
        return {} if images is None else {self._name: images}


def ranges(model: Any, batches: Iterable[np.ndarray], op_types: Sequence[str]) -> Ranges:
    """The least and greatest value of each input and output of the nodes of ``op_types``.

    Args:
        model: ``onnx.ModelProto`` of one input.
        batches: batches of images for the input.
        op_types: types of nodes, such as "Conv".

    Raises:
        ExportError: the images or the package onnxruntime are missing, or a range is not finite.
    """
    try:
        from onnxruntime.quantization.calibrate import MinMaxCalibrater
    except ImportError as e:
        raise ExportError(
            "calibrating needs the package onnxruntime: pip install -r requirements/onnx.txt"
        ) from e
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "observed.onnx")
        observer = MinMaxCalibrater(model, list(op_types), path)
        reader = _Batches(batches, model.graph.input[0].name)
        try:
            observer.collect_data(reader)
        except ValueError as e:
            raise ExportError(f"calibrating: {e}") from e
        found = observer.compute_range()
    for name, (low, high) in found.items():
        if not np.isfinite([low, high]).all():
            raise ExportError(
                f"calibrating: {name} ranges from {low!r} to {high!r}, expected finite values"
            )
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}
