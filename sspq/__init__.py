"""Quantized networks whose spatial operation is a learned shift.

``import sspq`` also registers the tensorpack layer ``Shift2D``.
"""

from sspq.layers import Shift2D
from sspq.ops.shift2d import shift2d
from sspq.training.cifar_model import CifarSSPQ34
from sspq.version import __version__

__all__ = ["CifarSSPQ34", "Shift2D", "__version__", "shift2d"]
