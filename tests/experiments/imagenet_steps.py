"""The ImageNet scripts' options, as the scripts have them, on a small network."""

from sspq.experiments.imagenet_options import options_of, parser
from tests.experiments.scripts import example, run_example

# ResNet-18's depth, 12 training images of 3 classes, 3 steps an epoch.
SMALL = ["--depth", "18", "--image-size", "32", "--batch", "4", "--processes", "0"]


def script_of(name):
    return example(f"imagenet-{name}")


def read_options(name, *options):
    """What a script reads from its command line."""
    arguments = [str(o) for o in options]
    return options_of(parser(script_of(name).DEFAULTS, None).parse_args(arguments))


def run(name, *options):
    """Runs a script on a graph of its own; returns its exit status."""
    return run_example(f"imagenet-{name}", [*SMALL, *options])
