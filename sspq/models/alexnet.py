"""AlexNet as a tensorpack model description."""

from typing import Any, Dict

from sspq.data.preprocessing import Preprocessing
from sspq.graphs.alexnet import IMAGE_SIZE, LEAST_IMAGE_SIZE, alexnet
from sspq.models.caffe import CaffeClassifier
from sspq.slq.integers import is_int

MOST_WIDTH = 16  # no machine holds such a network; numbers beyond could overflow


class AlexNet(CaffeClassifier):
    """Caffe's bvlc_alexnet, in float32; 60,965,224 parameters for 1000 classes.

    Inputs: ``input`` uint8 ``[N, image_size, image_size, 3]``, BGR; ``label`` int32 ``[N]``.
    Outputs and cost: see :class:`sspq.models.classifier.Classifier`. How it is trained: see
    :class:`sspq.models.caffe.CaffeClassifier`.

    Args:
        num_classes: number of classes, at least 2 (default: 1000).
        image_size: height and width of the images in pixels, at least 39 (default: 227).
        data_format: layout of the computation, "auto", "NCHW" or "NHWC" (default: "auto").
        width: factor on the numbers of channels and of hidden units, above 0, at most 16
            (default: 1).
        base_lr: initial learning rate (default: 0.01).

    Raises:
        ValueError: an argument is outside its range.

    Source: see :func:`sspq.graphs.alexnet.alexnet`.
    """

    NAME = "bvlc_alexnet"

    def __init__(
        self,
        num_classes: int = 1000,
        image_size: int = IMAGE_SIZE,
        data_format: str = "auto",
        width: float = 1.0,
        base_lr: float = 0.01,
    ) -> None:
        if not is_int(image_size) or image_size < LEAST_IMAGE_SIZE:
            raise ValueError(
                f"`image_size` must be an int of at least {LEAST_IMAGE_SIZE}, got {image_size!r}"
            )
        if not isinstance(width, (int, float)) or not 0 < width <= MOST_WIDTH:
            raise ValueError(
                f"`width` must be a number above 0, at most {MOST_WIDTH}, got {width!r}"
            )
        preprocessing = Preprocessing(int(image_size), "BGR", "uint8", "stretch")
        super(AlexNet, self).__init__(num_classes, data_format, preprocessing, base_lr)
        self.image_size = int(image_size)
        self.width = width

    def logits(self, image: Any) -> Any:
        return alexnet(image, self.num_classes, self.data_format, self.width)

    def describe(self) -> Dict[str, Any]:
        described = super(AlexNet, self).describe()
        return dict(described, image_size=self.image_size, width=self.width)
