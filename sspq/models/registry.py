"""The networks by name, with the sizes that were published for them.

To add one, write a :class:`sspq.models.classifier.Classifier` whose ``describe()["model"]`` tells
it from all others, and give it an entry in ``MODELS`` and one in ``_DESCRIBED``.
"""

import inspect
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from sspq.graphs.imagenet import BLOCKS, GRAPHS, MODES
from sspq.models.alexnet import AlexNet
from sspq.models.cifar import CifarSSPQ34
from sspq.models.classifier import Classifier
from sspq.models.imagenet import ImageNetSSPQ
from sspq.models.lenet import LeNet

Factory = Callable[..., Classifier]


class Published(NamedTuple):
    """The row of ``analysis/published.csv`` that the authors report, and the bits that it fits.

    ``settings`` are arguments of :func:`build`; ``note`` says what they mean and what is left over.
    """

    row: str
    settings: Dict[str, Any]
    note: str


class Entry(NamedTuple):
    """A network: its class, the arguments that make it, and the published figures."""

    factory: Factory
    settings: Dict[str, Any]
    published: Optional[Published] = None


def _imagenet(graph: str, mode: str, depth: int, published: Optional[Published] = None) -> Entry:
    return Entry(ImageNetSSPQ, {"graph": graph, "mode": mode, "depth": depth}, published)


_FLOAT32 = "all in float32"
_ONE_BIT = "1-bit kernels and a float32 linear layer"

#: The networks by name.
MODELS: Dict[str, Entry] = {
    "sspq34": Entry(CifarSSPQ34, {}),
    "alexnet": Entry(AlexNet, {}),
    "lenet": Entry(LeNet, {}),
    "lspq50": _imagenet(
        "resnet_model4",
        "QresIBShift",
        50,
        Published("L-SSPQ50", {"bitw": 1, "linear_bits": 32}, _ONE_BIT),
    ),
    "sspq50": _imagenet(
        "resnet_model2",
        "QresIBShift",
        50,
        Published("SSPQ50", {"bitw": 1, "linear_bits": 32}, _ONE_BIT),
    ),
    "resnet50": _imagenet("resnet_model3", "resnet", 50, Published("ResNet50", {}, _FLOAT32)),
    "resIBShift50": _imagenet(
        "resnet_model3", "resIBShift", 50, Published("ResIBShift50", {}, _FLOAT32)
    ),
    "asl50": _imagenet(
        "resnet_model3",
        "asl",
        50,
        Published(
            "ASL50",
            {},
            "in float32. The released shift has fewer channels than its input, and reads beyond "
            "its variable; here it has as many",
        ),
    ),
}
for _depth in BLOCKS:
    MODELS.setdefault(f"lspq{_depth}", _imagenet("resnet_model4", "QresIBShift", _depth))
    MODELS.setdefault(f"sspq{_depth}", _imagenet("resnet_model2", "QresIBShift", _depth))
    for _mode in MODES:
        if _depth >= 50 or _mode not in ("se", "resnext32x4d", "QresIBShift"):
            if _mode != "QresIBShift":
                MODELS.setdefault(f"{_mode}{_depth}", _imagenet("resnet_model3", _mode, _depth))

# describe()["model"]: the factory, and the arguments that the name stands for.
_DESCRIBED: Dict[str, Tuple[Factory, Dict[str, Any]]] = {
    "SSPQ34": (CifarSSPQ34, {}),
    AlexNet.NAME: (AlexNet, {}),
    LeNet.NAME: (LeNet, {}),
}
_DESCRIBED.update(
    (
        f"{graph} {mode}{depth}",
        (ImageNetSSPQ, {"graph": graph, "mode": mode, "depth": depth}),
    )
    for graph in GRAPHS
    for mode in MODES
    for depth in BLOCKS
)

# What describe() calls the bits, and the constructors' arguments.
_BITS = {
    "weights": "bitw",
    "activations": "bita",
    "gradients": "bitg",
    "linear": "linear_bits",
}
# What of describe() matters to infer.
IDENTITY = ("model", "variant", "bits", "num_classes", "image_size", "width")


def _accepted(factory: Factory) -> List[str]:
    return list(inspect.signature(factory).parameters)


def _make(name: str, factory: Factory, settings: Mapping[str, Any]) -> Classifier:
    for key, value in settings.items():
        if key not in _accepted(factory):
            raise ValueError(
                f"{name} has no `{key}` ({value!r}); it knows {', '.join(_accepted(factory))}"
            )
    return factory(**settings)


def build(name: str, **settings: Any) -> Classifier:
    """The network of a name of ``MODELS``; ``settings`` override the arguments of its entry.

    Raises:
        ValueError: no network has the name, or the network does not know a setting.
    """
    if name not in MODELS:
        raise ValueError(f"`model` must be one of {', '.join(sorted(MODELS))}, got {name!r}")
    entry = MODELS[name]
    return _make(name, entry.factory, {**entry.settings, **settings})


def identity(model: Classifier) -> Dict[str, Any]:
    """The part of ``model.describe()`` that matters to infer: enough for :func:`rebuild`."""
    described = model.describe()
    return {key: described[key] for key in IDENTITY if key in described}


def rebuild(description: Any, **settings: Any) -> Classifier:
    """The model that describes itself as ``description``, from a run's ``run.json`` for instance.

    Args:
        description: what :meth:`Classifier.describe` gives; other keys are ignored.
        settings: arguments that override those of the description.

    Raises:
        ValueError: no network describes itself so, or a value is outside its range.
    """
    name = description.get("model") if isinstance(description, dict) else None
    if not isinstance(name, str) or name not in _DESCRIBED:
        raise ValueError(f"no model describes itself as {name!r:.200}")
    factory, own = _DESCRIBED[name]
    bits = description.get("bits")
    if not isinstance(bits, dict):
        raise ValueError(f"{name}: `bits` must be an object, got {bits!r:.200}")
    accepted = _accepted(factory)
    # A network without a setting for its bits has 32.
    given = {
        _BITS[key]: value
        for key, value in bits.items()
        if key in _BITS and (value != 32 or _BITS[key] in accepted)
    }
    given.update((k, description[k]) for k in IDENTITY if k in description and k in accepted)
    model = _make(name, factory, {**own, **given, **settings})
    if not settings and identity(model) != {k: description.get(k) for k in identity(model)}:
        raise ValueError(f"{name}: the description {description!r:.300} is incomplete")
    return model
