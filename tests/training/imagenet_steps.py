"""The ImageNet scripts' steps and options, as the scripts have them."""

import importlib.util
import os

from sspq.training.imagenet_options import parser

EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")


def step_of(script):
    path = os.path.join(EXAMPLES, "imagenet-%s.py" % script)
    spec = importlib.util.spec_from_file_location("example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.STEP


def options_of(script, *options):
    return parser(step_of(script), None).parse_args([str(o) for o in options])
