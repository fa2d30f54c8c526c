"""LeNet as a tensorpack model description."""

from typing import Any, List

from sspq.compat import tf
from sspq.graphs.lenet import lenet
from sspq.models.caffe import CaffeClassifier


class LeNet(CaffeClassifier):
    """Caffe's LeNet for 32x32 images, in float32; 657,080 parameters for 10 classes.

    Inputs: ``input`` float32 ``[N, 32, 32, 3]`` in 0..255; ``label`` int32 ``[N]``.
    Outputs and cost: see :class:`sspq.models.classifier.Classifier`. How it is trained: see
    :class:`sspq.models.caffe.CaffeClassifier`.

    Args:
        num_classes: at least 2.
        data_format: "auto", "NCHW" or "NHWC". The variables are the same.

    Raises:
        ValueError: an argument is outside its range.

    Source: see :func:`sspq.graphs.lenet.lenet`.
    """

    NAME = "LeNet"

    def __init__(self, num_classes: int = 10, data_format: str = "auto") -> None:
        super(LeNet, self).__init__(num_classes, data_format)

    def inputs(self) -> List[Any]:
        return [
            tf.TensorSpec([None, 32, 32, 3], tf.float32, "input"),
            tf.TensorSpec([None], tf.int32, "label"),
        ]

    def logits(self, image: Any) -> Any:
        return lenet(image, self.num_classes, self.data_format)
