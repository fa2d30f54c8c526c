"""The scripts of examples/ as modules, with the options that they are given."""

import importlib.util
import os

from sspq.compat import tf

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")


def example(name):
    """The module examples/<name>.py."""
    spec = importlib.util.spec_from_file_location("example", os.path.join(EXAMPLES, f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_example(name, options):
    """Runs an example's main on a graph of its own; returns its exit status."""
    with tf.Graph().as_default():
        return example(name).main([str(o) for o in options])
