"""What the scripts train and evaluate on: a data set in memory, an ILSVRC folder, or noise."""

from sspq.experiments.inputs.ilsvrc import FakeInput, FolderInput, FolderSettings, classes_of
from sspq.experiments.inputs.memory import ImagesInput, ImagesSettings

__all__ = [
    "FakeInput",
    "FolderInput",
    "FolderSettings",
    "ImagesInput",
    "ImagesSettings",
    "classes_of",
]
