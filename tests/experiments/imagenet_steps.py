"""The ImageNet scripts' steps and options, as the scripts have them, on a small network."""

import importlib.util
import os

from sspq.compat import tf
from sspq.experiments.imagenet import main
from sspq.experiments.imagenet_options import parser

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")
# ResNet-18's depth, 12 training images of 3 classes, 3 steps an epoch.
SMALL = ["--depth", "18", "--image-size", "32", "--batch", "4", "--processes", "0"]


def step_of(script):
    path = os.path.join(EXAMPLES, f"imagenet-{script}.py")
    spec = importlib.util.spec_from_file_location("example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.STEP


def options_of(script, *options):
    return parser(step_of(script), None).parse_args([str(o) for o in options])


def run(script, *options):
    """Runs an example's main on a graph of its own; returns its exit status."""
    with tf.Graph().as_default():
        return main(step_of(script), None, SMALL + [str(o) for o in options])
