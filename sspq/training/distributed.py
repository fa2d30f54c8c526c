"""The processes and towers that train one model together, by the names of ``--trainer``."""

from typing import Any, Callable, Dict

from tensorpack.train import (
    AsyncMultiGPUTrainer,
    HorovodTrainer,
    SimpleTrainer,
    SyncMultiGPUTrainerParameterServer,
    SyncMultiGPUTrainerReplicated,
)
from tensorpack.utils.gpu import get_num_gpu

from sspq.compat import has_gpu, tf


class Processes:
    """This process alone.

    Attributes:
        rank: number of this process.
        ranks: number of processes.
        chief: whether this is the one that reads and writes the log folder.
    """

    rank = 0
    ranks = 1

    @property
    def chief(self) -> bool:
        return self.rank == 0

    def agree(self, value: Any) -> Any:
        """The ``value`` of the chief, any picklable object, in every process."""
        return value

    def total(self, tensor: Any) -> Any:
        """A tensor with the sum of ``tensor`` over all processes, which all have to compute it."""
        return tensor


class HorovodProcesses(Processes):
    """The processes that ``horovodrun`` has started, one a GPU.

    Raises:
        ValueError: Horovod is not installed, or it was built for another TensorFlow.
    """

    def __init__(self) -> None:
        try:
            import horovod.tensorflow as hvd
        except ImportError as e:
            raise ValueError(
                "`--trainer horovod` needs Horovod built for this TensorFlow: "
                f"bash scripts/install_horovod.sh ({e})"
            ) from e
        hvd.init()
        self._hvd = hvd
        self.rank, self.ranks = hvd.rank(), hvd.size()

    def agree(self, value: Any) -> Any:
        # A graph of its own: the values are needed before the model's is built. The name must be
        # the same everywhere; Horovod's default follows the type of the value, which differs.
        # Without GPUs: a session that sees them settles for the whole process which it has, and
        # the trainer's, which is to have one of its own, is refused.
        config = tf.ConfigProto(device_count={"GPU": 0})
        with tf.Graph().as_default(), tf.Session(config=config) as sess:
            return self._hvd.broadcast_object(value, root_rank=0, session=sess, name="sspq_agree")

    def total(self, tensor: Any) -> Any:
        return self._hvd.allreduce(tensor, op=self._hvd.Sum)


# Several GPUs in this process.
_SEVERAL: Dict[str, Callable[[int], Any]] = {
    # Every GPU applies its own gradients, divided by the number of GPUs, without waiting.
    "async": lambda towers: AsyncMultiGPUTrainer(towers, scale_gradient=True),
    "replicated": SyncMultiGPUTrainerReplicated,
    "parameter-server": SyncMultiGPUTrainerParameterServer,
}
#: Names of the trainers.
NAMES = (*_SEVERAL, "horovod")
#: Compressions of Horovod's gradients.
COMPRESSIONS = ("none", "fp16")


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
        compression: one of :data:`COMPRESSIONS`, for Horovod alone (default: "none").
    """
    if name == "horovod":
        from horovod.tensorflow import Compression

        return HorovodTrainer(average=True, compression=getattr(Compression, compression))
    return SimpleTrainer() if count == 1 else _SEVERAL[name](count)


def check_batch(batch: int, name: str, together: Processes) -> None:
    """Refuses a batch that towers and processes cannot share out evenly.

    Raises:
        ValueError: ``batch`` is not divisible by their number.
    """
    count = towers(name) * together.ranks
    if batch % count:
        raise ValueError(f"`--batch` must be divisible by {count} GPUs or processes, got {batch}")
