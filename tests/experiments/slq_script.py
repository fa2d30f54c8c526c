"""The script that quantizes stage by stage, as a function."""

from sspq.experiments.slq import options as slq_options
from tests.experiments.scripts import run_example


def script(*options, model="lenet"):
    """Runs the script on a graph of its own; returns its exit status."""
    common = ["--model", model] + ([] if model == "resnet18" else ["--data", "digits"])
    common += ["--batch", "4" if model == "resnet18" else "32"]
    return run_example("slq", [*common, *options])


def read_options(*options):
    """What the script reads from its command line."""
    args = slq_options.parser(None).parse_args([*options, "--data", "digits"])
    slq_options.complete(args)
    return slq_options.options_of(args)
