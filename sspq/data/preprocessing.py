"""How an image becomes the input of a model."""

from dataclasses import dataclass
from typing import Any, Dict

from sspq.data.ilsvrc.augment import both_edges, shorter_edge

FITS = ("resize", "crop", "stretch")


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a decoded image to the input of a model that infers.

    A model states its own as ``model.preprocessing``; whatever feeds a model reads it there.

    Attributes:
        size: height and width of the input in pixels.
        channels: order of the colours, "RGB" or "BGR".
        dtype: type of the input's values, which are in 0..255 before the mean is subtracted.
        fit: "resize", the whole image to ``size``; "crop", the middle of the image once its shorter
            edge has 256/224 of ``size``; "stretch", the middle once both edges have 256/227 of it.
        mean_image: whether the mean image of the training set is subtracted.

    Raises:
        ValueError: ``fit`` is none of :data:`FITS`.
    """

    size: int
    channels: str
    dtype: str
    fit: str
    mean_image: bool = False

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ValueError(f"`fit` must be one of {FITS}, got {self.fit!r}")

    def describe(self) -> Dict[str, Any]:
        """The steps as a JSON object, for files that leave the package."""
        resize, edge = {
            "resize": ("both edges, by area", self.size),
            "crop": ("shorter edge, cubic", shorter_edge(self.size)),
            "stretch": ("both edges, linear", both_edges(self.size)),
        }[self.fit]
        return {
            "size": [self.size, self.size],
            "channels": self.channels,
            "dtype": self.dtype,
            "range": [0, 255],
            "resize": resize,
            "resize_to": edge,
            "crop": None if self.fit == "resize" else "centre",
            "subtracts": "mean image of the training set" if self.mean_image else None,
        }

    @property
    def stretches(self) -> bool:
        """Whether images lose their aspect ratio, as Caffe resizes them."""
        return self.fit == "stretch"
