"""TensorFlow ops with their gradients."""

from sspq.ops.shift2d import shift2d

__all__ = ["shift2d"]
