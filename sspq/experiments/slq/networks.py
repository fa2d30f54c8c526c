"""The networks that ``examples/slq.py`` quantizes, and the defaults of their training."""

from dataclasses import dataclass
from typing import Callable, Dict, NamedTuple, Union

from sspq.experiments.inputs import FolderInput, FolderSettings, ImagesInput, ImagesSettings
from sspq.graphs.alexnet import IMAGE_SIZE as ALEXNET_SIZE
from sspq.models import AlexNet, CifarSSPQ34, Classifier, ImageNetSSPQ, LeNet
from sspq.quantizers.scope import weight_scope
from sspq.training.distributed import Processes
from sspq.training.slq.variables import Layers

Data = Union[FolderInput, ImagesInput]
DataSettings = Union[FolderSettings, ImagesSettings]

ALL = ".*/W"  # convolutions and fully-connected layers, first and last included, but no biases
SHIFT_KERNELS = weight_scope("imagenet", "paper").holds  # the 1x1 kernels of shift blocks


@dataclass(frozen=True)
class ModelOptions:
    """Arguments of the networks; each takes those that it has.

    Attributes:
        data_format: layout of the computation.
        base_lr: initial learning rate.
        image_size: height and width of ILSVRC images in pixels.
        bita: bits of the activations of a shift network.
        shift_lr_mult, shift_normalize, shift_decay: training of the shifts, see
            :class:`sspq.CifarSSPQ34`.
    """

    data_format: str
    base_lr: float
    image_size: int
    bita: int
    shift_lr_mult: float
    shift_normalize: bool
    shift_decay: bool


class Recipe(NamedTuple):
    """A learning rate that falls by steps, and begins anew with every stage.

    Attributes:
        batch: number of images of a step.
        base_lr: learning rate at the beginning of every stage.
        epochs: number of epochs of a stage.
        rate_step: number of epochs after which the rate is multiplied by 0.1.
    """

    batch: int
    base_lr: float
    epochs: int
    rate_step: int


class Network(NamedTuple):
    """A network with its defaults.

    Attributes:
        make: function that gives the model, its weights in float32, for a number of classes.
        layers: names of the weights that are quantized.
        float32, stages: training ahead of quantization, and in each of its stages.
        image_size: height and width of an ILSVRC folder's images; 0 if the network takes 32x32
            images of a data set that is held in memory.
        stretches: whether its images lose their aspect ratio, as Caffe resizes them.
    """

    make: Callable[[ModelOptions, int], Classifier]
    layers: Layers
    float32: Recipe
    stages: Recipe
    image_size: int = 0
    stretches: bool = False

    @property
    def shifts(self) -> bool:
        """Whether it is a shift network."""
        return self.layers is SHIFT_KERNELS


def open_data(settings: DataSettings, processes: Processes, training: bool = True) -> Data:
    """The images to train and evaluate on; training ones where ``training`` (default: True)."""
    if isinstance(settings, ImagesSettings):
        return ImagesInput(settings, processes)
    return FolderInput(settings, processes, training)


def _lenet(options: ModelOptions, classes: int) -> Classifier:
    return LeNet(classes, options.data_format, options.base_lr)


def _alexnet(options: ModelOptions, classes: int) -> Classifier:
    return AlexNet(classes, options.image_size, options.data_format, base_lr=options.base_lr)


def _sspq34(options: ModelOptions, classes: int) -> Classifier:
    return CifarSSPQ34(
        bitw=32,
        bita=options.bita,
        num_classes=classes,
        data_format=options.data_format,
        base_lr=options.base_lr,
        shift_lr_mult=options.shift_lr_mult,
        shift_normalize=options.shift_normalize,
        shift_decay=options.shift_decay,
    )


def _imagenet(mode: str, depth: int) -> Callable[[ModelOptions, int], Classifier]:
    def make(options: ModelOptions, classes: int) -> Classifier:
        return ImageNetSSPQ(
            graph="resnet_model4",
            depth=depth,
            mode=mode,
            bitw=32,
            bita=options.bita,
            num_classes=classes,
            image_size=options.image_size,
            data_format=options.data_format,
            base_lr=options.base_lr,
            shift_lr_mult=options.shift_lr_mult,
            shift_normalize=options.shift_normalize,
        )

    return make


# AlexNet's are the released ones: 450,000 steps at rates that fall every 100,000, and 90,000 steps
# a stage at rates that fall every 20,000, of 5,004 an epoch. The others are this package's own, of
# which those of LeNet alone have been tried out, on digits.
_RESNET = (Recipe(256, 0.1, 90, 30), Recipe(256, 1e-3, 10, 4))

#: The networks by the names of ``--model``.
NETWORKS: Dict[str, Network] = {
    "lenet": Network(_lenet, ALL, Recipe(64, 0.01, 20, 15), Recipe(64, 0.003, 4, 3)),
    "sspq34": Network(_sspq34, SHIFT_KERNELS, Recipe(256, 0.1, 200, 60), Recipe(256, 0.01, 20, 8)),
    "alexnet": Network(
        _alexnet,
        ALL,
        Recipe(256, 0.01, 90, 20),
        Recipe(256, 1e-4, 18, 4),
        ALEXNET_SIZE,
        stretches=True,
    ),
    "resnet18": Network(_imagenet("resnet", 18), ALL, *_RESNET, 224),
    "resnet34": Network(_imagenet("resnet", 34), ALL, *_RESNET, 224),
    "lspq50": Network(_imagenet("QresIBShift", 50), SHIFT_KERNELS, *_RESNET, 224),
}
