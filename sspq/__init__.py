"""Quantized networks whose spatial operation is a learned shift.

Names are imported when they are first used, so ``import sspq`` does not import TensorFlow. The
tensorpack layer ``Shift2D`` is registered as soon as tensorpack is imported too, in either order.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any, List

import wrapt

from sspq.version import __version__

if TYPE_CHECKING:
    from sspq.analysis.summary import summarize as summary
    from sspq.layers import Shift2D
    from sspq.models import AlexNet, CifarSSPQ34, ImageNetSSPQ, LeNet
    from sspq.ops.conv import fast_pointwise
    from sspq.ops.shift2d import shift2d

# Public name: (module of its definition, name in that module).
_NAMES = {
    "AlexNet": ("sspq.models", "AlexNet"),
    "CifarSSPQ34": ("sspq.models", "CifarSSPQ34"),
    "ImageNetSSPQ": ("sspq.models", "ImageNetSSPQ"),
    "LeNet": ("sspq.models", "LeNet"),
    "Shift2D": ("sspq.layers", "Shift2D"),
    "fast_pointwise": ("sspq.ops.conv", "fast_pointwise"),
    "shift2d": ("sspq.ops.shift2d", "shift2d"),
    "summary": ("sspq.analysis.summary", "summarize"),
}
_MODULES = (
    "analysis",
    "checkpoints",
    "compat",
    "data",
    "experiments",
    "export",
    "figures",
    "graphs",
    "inference",
    "layers",
    "models",
    "oplib",
    "ops",
    "quantizers",
    "resnet_model2",
    "resnet_model3",
    "resnet_model4",
    "runs",
    "slq",
    "training",
)

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


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        module, own = _NAMES[name]
        value = getattr(importlib.import_module(module), own)
    elif name in _MODULES:
        value = importlib.import_module(f"sspq.{name}")
    else:
        raise AttributeError(f"module 'sspq' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*__all__, *_MODULES})


@wrapt.when_imported("tensorpack")
def _register_shift2d(_: Any) -> None:
    if "tensorflow" in sys.modules:  # without it, tensorpack reads data and has no layers
        importlib.import_module("sspq.layers")
