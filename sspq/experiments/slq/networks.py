"""The networks that ``examples/slq.py`` quantizes, and how each is trained unless told."""

import argparse
from typing import Any, Callable, Dict, NamedTuple, Union

from sspq.experiments.imagenet_inputs import FolderInput
from sspq.experiments.inputs import ImagesInput
from sspq.graphs.alexnet import IMAGE_SIZE as ALEXNET_SIZE
from sspq.models.alexnet import AlexNet
from sspq.models.cifar import CifarSSPQ34
from sspq.models.classifier import Classifier
from sspq.models.imagenet import ImageNetSSPQ
from sspq.models.lenet import LeNet
from sspq.quantizers.scope import weight_scope
from sspq.training.distributed import Processes
from sspq.training.slq.variables import Layers

Data = Union[FolderInput, ImagesInput]

ALL = ".*/W"  # convolutions and fully-connected layers, first and last included, but no biases
SHIFT_KERNELS = weight_scope("imagenet", "paper").holds  # the 1x1 kernels of shift blocks


class Recipe(NamedTuple):
    """A learning rate that falls by steps, and begins anew with every stage.

    Attributes:
        batch: images a step.
        base_lr: at the beginning.
        epochs: of a stage.
        rate_step: epochs after which the rate is multiplied by 0.1.
    """

    batch: int
    base_lr: float
    epochs: int
    rate_step: int


class Network(NamedTuple):
    """A network with its defaults.

    Attributes:
        make: the model, of the script's options and a number of classes.
        layers: that are quantized.
        float32, stages: how it is trained ahead of quantization, and in each of its stages.
        image_size: of an ILSVRC folder's images; 0 if the network takes 32x32 images of a data set
            that is held in memory.
        as_caffe: see :class:`sspq.experiments.imagenet_inputs.FolderInput`.
    """

    make: Callable[[argparse.Namespace, int], Classifier]
    layers: Layers
    float32: Recipe
    stages: Recipe
    image_size: int = 0
    as_caffe: bool = False

    @property
    def shifts(self) -> bool:
        """Whether it is a shift network."""
        return self.layers is SHIFT_KERNELS

    def data(self, args: argparse.Namespace, processes: Processes, training: bool) -> Data:
        """What the options say to train and evaluate on."""
        if not self.image_size:
            return ImagesInput(args, processes)
        return FolderInput(args, processes, training, self.as_caffe)


def _lenet(args: argparse.Namespace, classes: int) -> Classifier:
    return LeNet(classes, args.data_format)


def _alexnet(args: argparse.Namespace, classes: int) -> Classifier:
    return AlexNet(classes, args.image_size, args.data_format)


def _sspq34(args: argparse.Namespace, classes: int) -> Classifier:
    return CifarSSPQ34(
        32,
        args.bita,
        num_classes=classes,
        data_format=args.data_format,
        shift_decay=not args.shift_no_decay,
    )


def _imagenet(mode: str, depth: int) -> Callable[[argparse.Namespace, int], Classifier]:
    def make(args: argparse.Namespace, classes: int) -> Classifier:
        return ImageNetSSPQ(
            "resnet_model4",
            depth,
            mode,
            32,
            args.bita,
            num_classes=classes,
            image_size=args.image_size,
            data_format=args.data_format,
        )

    return make


# AlexNet's are the released ones: 450,000 steps at rates that fall every 100,000, and 90,000 steps
# a stage at rates that fall every 20,000, of 5,004 an epoch. The others are this package's own, of
# which those of LeNet alone have been tried out, on digits.
_RESNET = (Recipe(256, 0.1, 90, 30), Recipe(256, 1e-3, 10, 4))

NETWORKS: Dict[str, Network] = {
    "lenet": Network(_lenet, ALL, Recipe(64, 0.01, 20, 15), Recipe(64, 0.003, 4, 3)),
    "sspq34": Network(_sspq34, SHIFT_KERNELS, Recipe(256, 0.1, 200, 60), Recipe(256, 0.01, 20, 8)),
    "alexnet": Network(
        _alexnet,
        ALL,
        Recipe(256, 0.01, 90, 20),
        Recipe(256, 1e-4, 18, 4),
        ALEXNET_SIZE,
        as_caffe=True,
    ),
    "resnet18": Network(_imagenet("resnet", 18), ALL, *_RESNET, 224),
    "resnet34": Network(_imagenet("resnet", 34), ALL, *_RESNET, 224),
    "lspq50": Network(_imagenet("QresIBShift", 50), SHIFT_KERNELS, *_RESNET, 224),
}


def model_of(args: argparse.Namespace, classes: int) -> Any:
    """The network that the options describe, its weights in float32.

    Raises:
        ValueError: it does not quantize activations and is told to.
    """
    model = NETWORKS[args.model].make(args, classes)
    if model.describe()["bits"]["activations"] != args.bita:
        raise ValueError(
            f"`--bita` must be 32: {args.model} does not quantize activations, got {args.bita!r}"
        )
    model.base_lr = args.base_lr
    model.shift_lr_mult, model.shift_normalize = args.shift_lr_mult, args.shift_normalize
    return model
