"""LeNet as a tensorpack model description."""

from typing import Any

from sspq.graphs.lenet import lenet
from sspq.models.caffe import CaffeClassifier
from sspq.models.cifar import SMALL_IMAGES


class LeNet(CaffeClassifier):
    """Caffe's LeNet for 32x32 images, in float32; 657,080 parameters for 10 classes.

    Inputs: ``input`` float32 ``[N, 32, 32, 3]`` in 0..255; ``label`` int32 ``[N]``.
    Outputs and cost: see :class:`sspq.models.classifier.Classifier`. How it is trained: see
    :class:`sspq.models.caffe.CaffeClassifier`.

    Args:
        num_classes: number of classes, at least 2 (default: 10).
        data_format: layout of the computation, "auto", "NCHW" or "NHWC" (default: "auto").
        base_lr: initial learning rate (default: 0.01).

    Raises:
        ValueError: an argument is outside its range.

    Source: see :func:`sspq.graphs.lenet.lenet`.
    """

    NAME = "LeNet"

    def __init__(
        self, num_classes: int = 10, data_format: str = "auto", base_lr: float = 0.01
    ) -> None:
        super(LeNet, self).__init__(num_classes, data_format, SMALL_IMAGES, base_lr)

    def logits(self, image: Any) -> Any:
        return lenet(image, self.num_classes, self.data_format)
