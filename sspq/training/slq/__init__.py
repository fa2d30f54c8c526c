"""Single- and multi-level quantization while a tensorpack model is trained."""

from sspq.training.slq.callback import MLQ, SLQ, Observer, StageError

__all__ = ["MLQ", "SLQ", "Observer", "StageError"]
