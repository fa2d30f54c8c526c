"""What the networks for 32x32 images train and evaluate on: CIFAR-100, or digits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tensorpack.input_source import QueueInput

from sspq import data as datasets
from sspq.data.memory.flow import TestFlow, TrainFlow
from sspq.data.preprocessing import Preprocessing
from sspq.data.watched import WatchedInput
from sspq.training.distributed import Processes

TEST_BATCH = 200


@dataclass(frozen=True)
class ImagesSettings:
    """Settings of an :class:`ImagesInput`.

    Attributes:
        data: folder with CIFAR-100, or "digits".
        download: whether CIFAR-100 is fetched into the folder if it is not there.
        seed: seed of order and augmentation.
    """

    data: str
    download: bool = False
    seed: int = 0


class ImagesInput(WatchedInput):
    """A data set of 32x32 images, prepared as :class:`Preprocessing` for small images says.

    Args:
        settings: data set and seed.
        processes: processes that train together; each gets its share of the images.

    Attributes:
        num_classes: number of classes of the data set.

    Raises:
        DataError: the data set is missing or damaged.
    """

    def __init__(self, settings: ImagesSettings, processes: Processes) -> None:
        super().__init__()
        self._settings = settings
        self._processes = processes
        self._data = datasets.load(settings.data, download=settings.download)
        self.num_classes = self._data.num_classes

    def facts(self) -> dict[str, Any]:
        """What reports say about the data set."""
        return {
            "name": self._data.name,
            "train_images": len(self._data.train_labels),
            "test_images": len(self._data.test_labels),
            "classes": self._data.num_classes,
        }

    def steps(self, batch: int) -> int:
        """Training steps of an epoch, with ``batch`` images over all towers."""
        return len(TrainFlow(self._data, batch, self._settings.seed))

    def training(
        self, preprocessing: Preprocessing, batch: int, first_epoch: int, towers: int
    ) -> Any:
        """An InputSource; each of the ``towers`` takes its part of a batch of it at every step."""
        p = self._processes
        flow = TrainFlow(
            self._data,
            batch // p.ranks // towers,
            self._settings.seed,
            first_epoch,
            rank=p.rank,
            ranks=p.ranks,
            # Several towers may leave batches of an epoch that do not make a step.
            limit=self.steps(batch) * towers,
        )
        return QueueInput(self._watched(flow))

    def validation(self, preprocessing: Preprocessing) -> Any:
        """A DataFlow of this process's share of the test images."""
        return TestFlow(self._data, TEST_BATCH, self._processes.rank, self._processes.ranks)

    def batches(self, preprocessing: Preprocessing) -> tuple[Iterator[Any], int]:
        """All test images as arrays, and the number of their batches."""
        flow = TestFlow(self._data, TEST_BATCH)
        return iter(flow), len(flow)
