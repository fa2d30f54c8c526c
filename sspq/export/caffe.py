"""AlexNet of Caffe, whose files OpenCV reads, as an ``.npz`` file for ``--load``."""

import os
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Tuple

import cv2
import numpy as np
from tensorpack.predict import PredictConfig

from sspq.analysis.layers import inference_graph
from sspq.checkpoints.files import NPZ
from sspq.checkpoints.restore import ExactRestore, mismatch
from sspq.files import replacing
from sspq.graphs.alexnet import IMAGE_SIZE, MEAN
from sspq.models.alexnet import AlexNet
from sspq.training.inference import OfflinePredictor
from sspq.training.session import session_creator

LOGITS = "fc8"
TOLERANCE = 1e-4  # of the largest logit

Variables = Dict[str, np.ndarray]


class CaffeError(ValueError):
    """The files of Caffe are missing or damaged, or hold another network."""


def read_net(caffemodel: str, prototxt: str) -> Any:
    """The network as OpenCV reads it, ``cv2.dnn_Net``.

    Raises:
        CaffeError: a file is missing, or OpenCV refuses it.
    """
    for path in (caffemodel, prototxt):
        if not os.path.isfile(path):
            raise CaffeError(f"{path}: there is no such file")
    with _opencv(f"OpenCV cannot read {caffemodel} with {prototxt}"):
        return cv2.dnn.readNetFromCaffe(prototxt, caffemodel)


def variables(net: Any) -> Variables:
    """The weights of a network by the names, and in the order, of this package's graphs.

    A convolution's blob ``[out, in / groups, height, width]`` becomes ``W`` ``[height, width, in /
    groups, out]``; that of an inner product, ``[out, in]``, ``[in, out]``. ``b`` is ``[out]``.

    Raises:
        CaffeError: OpenCV refuses a layer, a layer of another kind has weights, or a weight is not
            finite.
    """
    result: Variables = {}
    for name in net.getLayerNames():
        with _opencv(f"OpenCV refuses the layer {name}"):
            layer = net.getLayer(net.getLayerId(name))
        blobs = [np.asarray(blob) for blob in layer.blobs]
        if not blobs:
            continue
        if layer.type == "Convolution":
            result[name + "/W"] = blobs[0].transpose(2, 3, 1, 0)
        elif layer.type == "InnerProduct":
            # The first files have four axes here as well, the first two of length 1.
            result[name + "/W"] = blobs[0].reshape(blobs[0].shape[-2:]).T
        else:
            raise CaffeError(
                f"layer {name} is a {layer.type} with weights, expected Convolution and "
                "InnerProduct alone"
            )
        if len(blobs) > 1:
            result[name + "/b"] = blobs[1].ravel()
    for name, value in result.items():
        if not np.isfinite(value).all():
            raise CaffeError(f"{name} holds values that are not finite, expected finite weights")
    return result


def convert(
    caffemodel: str,
    prototxt: str,
    output: str,
    image_size: int = IMAGE_SIZE,
    width: float = 1.0,
) -> Tuple[AlexNet, float]:
    """Writes the variables of Caffe's AlexNet to an ``.npz`` file.

    The number of classes is that of ``fc8``. Nothing is written unless :class:`AlexNet`, loaded
    from the file, gives the logits that OpenCV's forward pass of Caffe's files gives: names and
    shapes, which tell the groups, tell neither the order of the layers nor their settings.

    Args:
        caffemodel: path of the file of the weights.
        prototxt: path of the file of the network as it infers ("deploy").
        output: path of the file to write, which ends in ``.npz``.
        image_size: height and width of the images in pixels (default: 227).
        width: factor on the numbers of channels, see :class:`AlexNet` (default: 1).

    Returns:
        The network, and the largest difference of the logits over the largest logit.

    Raises:
        CaffeError: the files cannot be read, do not hold this network, or ``output`` cannot be
            written.
        ValueError: an argument is outside its range.
    """
    if not output.endswith(NPZ):
        raise CaffeError(f"`output` must end in {NPZ}, got {output!r}")
    net = read_net(caffemodel, prototxt)
    values = variables(net)
    if LOGITS + "/b" not in values:
        raise CaffeError(f"{caffemodel} has no weights and biases for the layer {LOGITS}")
    model = AlexNet(len(values[LOGITS + "/b"]), image_size, width=width)
    wanted = inference_graph(model).get_collection("trainable_variables")
    wrong = mismatch(
        {name: list(value.shape) for name, value in values.items()},
        {v.op.name: v.shape.as_list() for v in wanted},
    )
    if wrong:
        raise CaffeError(
            f"{caffemodel} does not hold {model.NAME}: {wrong}; shapes are [height, width, "
            "inputs / groups, outputs] or [inputs, outputs]"
        )
    try:
        with replacing(output) as temporary:
            np.savez(temporary, **values)
            off = _difference(net, model, temporary)
    except OSError as e:
        raise CaffeError(f"{output} cannot be written: {e}") from e
    return model, off


def _difference(net: Any, model: AlexNet, path: str) -> float:
    """The largest difference of the logits of two images over the largest logit."""
    size = model.image_size
    images = np.random.RandomState(0).randint(0, 256, (2, size, size, 3)).astype(np.uint8)
    predictor = OfflinePredictor(
        PredictConfig(
            model=model,
            session_init=ExactRestore(path, parameters_only=True),
            input_names=["input"],
            output_names=["logits"],
            session_creator=session_creator(),
        )
    )
    [logits] = predictor(images)
    centred = images.astype(np.float32) - np.array(MEAN, np.float32)
    with _opencv("OpenCV cannot run Caffe's network"):
        net.setInput(np.ascontiguousarray(centred.transpose(0, 3, 1, 2)))
        expected = net.forward(LOGITS)
    off = float(np.abs(logits - expected).max() / np.abs(expected).max())
    if not off <= TOLERANCE:
        raise CaffeError(
            f"Caffe's network computes something else than {model.NAME}: its logits are off by "
            f"{off:.2g} of the largest, expected at most {TOLERANCE:g}; do the order of its "
            "layers and their settings agree?"
        )
    return off


@contextmanager
def _opencv(failure: str) -> Iterator[None]:
    """Turns an error of OpenCV into a CaffeError that begins with ``failure``."""
    try:
        yield
    except cv2.error as e:
        raise CaffeError(f"{failure}: {' '.join(str(e).split())}") from e
