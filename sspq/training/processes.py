"""The processes that train one model together: usually this one alone, or those of Horovod."""

from typing import Any

from sspq.compat import tf


class Processes:
    """This process alone.

    Attributes:
        rank: number of this process.
        ranks: how many there are.
        chief: whether this is the one that reads and writes the log folder.
    """

    rank = 0
    ranks = 1

    @property
    def chief(self) -> bool:
        return self.rank == 0

    def agree(self, value: Any) -> Any:
        """The chief's ``value``, which may be any picklable object, in every process."""
        return value

    def total(self, tensor: Any) -> Any:
        """A tensor: the sum of ``tensor`` over all processes, all of which have to compute it."""
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
