"""The script that quantizes stage by stage, as a function."""

from sspq.compat import tf
from sspq.experiments.slq import run as slq_run


def script(*options, model="lenet"):
    """Runs the example's main on a graph of its own; returns its exit status."""
    common = ["--model", model] + ([] if model == "resnet18" else ["--data", "digits"])
    common += ["--batch", "4" if model == "resnet18" else "32"]
    with tf.Graph().as_default():
        return slq_run.main(None, common + [str(o) for o in options])
