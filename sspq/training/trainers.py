"""Tensorpack's trainers by the names of ``--trainer``."""

from typing import Any, Callable, Dict

from tensorpack.train import (
    AsyncMultiGPUTrainer,
    HorovodTrainer,
    SimpleTrainer,
    SyncMultiGPUTrainerParameterServer,
    SyncMultiGPUTrainerReplicated,
)
from tensorpack.utils.gpu import get_num_gpu

from sspq.compat import has_gpu
from sspq.training.processes import HorovodProcesses, Processes

# Several GPUs in this process.
_SEVERAL: Dict[str, Callable[[int], Any]] = {
    # Every GPU applies its own gradients, divided by the number of GPUs, without waiting.
    "async": lambda towers: AsyncMultiGPUTrainer(towers, scale_gradient=True),
    "replicated": SyncMultiGPUTrainerReplicated,
    "parameter-server": SyncMultiGPUTrainerParameterServer,
}
NAMES = (*_SEVERAL, "horovod")


def processes(name: str) -> Processes:
    """The processes that a trainer of that name works with."""
    return HorovodProcesses() if name == "horovod" else Processes()


def towers(name: str) -> int:
    """Copies of the model in this process: one a GPU; Horovod has one process a GPU instead."""
    if name == "horovod" or not has_gpu():
        return 1
    return max(1, get_num_gpu())


def trainer(name: str, count: int) -> Any:
    """A trainer with ``count`` towers. With one, all but Horovod's are the same."""
    if name == "horovod":
        return HorovodTrainer(average=True)
    return SimpleTrainer() if count == 1 else _SEVERAL[name](count)


def batch_of_each(batch: int, count: int, what: str = "GPUs") -> int:
    """``batch`` images shared out evenly.

    Raises:
        ValueError: it cannot be done.
    """
    if batch % count:
        raise ValueError("`--batch` must be divisible by %d %s, got %d" % (count, what, batch))
    return batch // count
