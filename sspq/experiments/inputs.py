"""What the networks for 32x32 images train and evaluate on: CIFAR-100, or digits."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from tensorpack.input_source import QueueInput

from sspq import data as datasets
from sspq.data.memory.flow import TestFlow, TrainFlow
from sspq.data.watched import WatchedInput
from sspq.training.distributed import Processes

TEST_BATCH = 200


class ImagesInput(WatchedInput):
    """A data set of 32x32 images.

    Args:
        args: the script's options.
        processes: that train together; each gets its share.

    Attributes:
        num_classes: what the network tells apart.

    Raises:
        DataError: the data set is missing or damaged.
    """

    def __init__(self, args: argparse.Namespace, processes: Processes) -> None:
        super().__init__()
        self._processes = processes
        self._data = datasets.load(args.data, download=args.download)
        self._args = args
        self.num_classes = self._data.num_classes

    def facts(self) -> dict[str, Any]:
        """For reports."""
        return {
            "name": self._data.name,
            "train_images": len(self._data.train_labels),
            "test_images": len(self._data.test_labels),
            "classes": self._data.num_classes,
        }

    def steps(self, batch: int) -> int:
        """Training steps of an epoch, with ``batch`` images over all towers."""
        return len(TrainFlow(self._data, batch, self._args.seed))

    def training(self, first_epoch: int, towers: int) -> Any:
        """An InputSource; each of the ``towers`` takes a batch of it at every step."""
        args, p = self._args, self._processes
        flow = TrainFlow(
            self._data,
            args.batch // p.ranks // towers,
            args.seed,
            first_epoch,
            rank=p.rank,
            ranks=p.ranks,
            # Several towers may leave batches of an epoch that do not make a step.
            limit=self.steps(args.batch) * towers,
        )
        return QueueInput(self._watched(flow))

    def validation(self) -> Any:
        """A DataFlow of this process's share of the test images."""
        return TestFlow(self._data, TEST_BATCH, self._processes.rank, self._processes.ranks)

    def batches(self) -> tuple[Iterator[Any], int]:
        """All test images as arrays, and how many batches these are."""
        flow = TestFlow(self._data, TEST_BATCH)
        return iter(flow), len(flow)
