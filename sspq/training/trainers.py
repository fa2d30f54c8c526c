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
COMPRESSIONS = ("none", "fp16")  # of Horovod's gradients


def processes(name: str) -> Processes:
    """The processes that a trainer of that name works with."""
    return HorovodProcesses() if name == "horovod" else Processes()


def towers(name: str) -> int:
    """Copies of the model in this process: one a GPU; Horovod has one process a GPU instead."""
    if name == "horovod" or not has_gpu():
        return 1
    return max(1, get_num_gpu())


def trainer(name: str, count: int, compression: str = "none") -> Any:
    """A trainer with ``count`` towers. With one, all but Horovod's are the same.

    Args:
        name: one of :data:`NAMES`.
        count: towers of this process.
        compression: one of :data:`COMPRESSIONS`; of Horovod's alone.
    """
    if name == "horovod":
        from horovod.tensorflow import Compression

        return HorovodTrainer(average=True, compression=getattr(Compression, compression))
    return SimpleTrainer() if count == 1 else _SEVERAL[name](count)


def check_batch(batch: int, name: str, together: Processes) -> None:
    """Refuses a batch that towers and processes cannot share out evenly.

    Raises:
        ValueError: that is so.
    """
    count = towers(name) * together.ranks
    if batch % count:
        raise ValueError(f"`--batch` must be divisible by {count} GPUs or processes, got {batch}")
