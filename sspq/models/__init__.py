"""The networks as tensorpack model descriptions, by class and by name."""

from sspq.models.alexnet import AlexNet
from sspq.models.cifar import CifarSSPQ34
from sspq.models.classifier import Classifier
from sspq.models.imagenet import ImageNetSSPQ
from sspq.models.lenet import LeNet
from sspq.models.registry import MODELS, build, identity, rebuild

__all__ = [
    "MODELS",
    "AlexNet",
    "CifarSSPQ34",
    "Classifier",
    "ImageNetSSPQ",
    "LeNet",
    "build",
    "identity",
    "rebuild",
]
