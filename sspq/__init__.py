"""Quantized networks whose spatial operation is a learned shift.

``import sspq`` also registers the tensorpack layer ``Shift2D``.
"""

from sspq import resnet_model2, resnet_model3, resnet_model4
from sspq.layers import Shift2D
from sspq.ops.conv import fast_pointwise
from sspq.ops.shift2d import shift2d
from sspq.report.summary import summarize as summary
from sspq.training.alexnet_model import AlexNet
from sspq.training.cifar_model import CifarSSPQ34
from sspq.training.imagenet_model import ImageNetSSPQ
from sspq.training.lenet_model import LeNet
from sspq.version import __version__

__all__ = [
    "AlexNet",
    "CifarSSPQ34",
    "ImageNetSSPQ",
    "LeNet",
    "Shift2D",
    "__version__",
    "fast_pointwise",
    "resnet_model2",
    "resnet_model3",
    "resnet_model4",
    "shift2d",
    "summary",
]
