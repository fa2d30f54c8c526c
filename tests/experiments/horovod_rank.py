"""One of the processes of test_horovod.py: S1 on a small tree, with its weights written each epoch.

Arguments: the folder for the weights, then those of the script.
"""

import os
import sys

import numpy as np
from tensorpack.callbacks import Callback

from sspq.compat import tf
from sspq.training import engine as fit
from tests.experiments.imagenet_steps import SMALL, script_of


class Dump(Callback):
    """Writes what this process holds after every epoch, and as what its gradients are sent."""

    _chief_only = False

    def __init__(self, folder, rank):
        self._file = os.path.join(folder, f"rank{rank}-epoch%d.npz")

    def _trigger_epoch(self):
        values = self.trainer.sess.run({v.op.name: v for v in tf.global_variables()})
        graph = tf.get_default_graph().get_operations()
        reduced = [o for o in graph if o.type == "HorovodAllreduce" and "AllReduce/" in o.name]
        values["sent"] = sorted({o.inputs[0].dtype.name for o in reduced})
        np.savez(self._file % self.epoch_num, **{n.replace("/", "|"): v for n, v in values.items()})


def main(folder, options):
    make = fit.Training

    def training(*arguments, **options):
        import horovod.tensorflow as hvd

        dump = Dump(folder, hvd.rank())
        return make(*arguments, callbacks=lambda validation, folder: [dump], **options)

    script = script_of("SSQ_S1")
    script.Training = training
    return script.main(SMALL + options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
