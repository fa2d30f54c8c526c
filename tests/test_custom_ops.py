"""Folders of custom_ops include each other one way; TensorFlow is in those called op alone."""

import os
import re

import setup

# What the files of a folder may include, beside those of their own folder.
ALLOWED = {
    "cpu": set(),
    "batch_norm/cpu": {"cpu"},
    "batch_norm/op": {"cpu", "batch_norm/cpu", "tensorflow"},
    "conv/cpu": {"cpu"},
    "conv/op": {"cpu", "conv/cpu", "batch_norm/cpu", "batch_norm/op", "tensorflow"},
    "dorefa/cpu": {"cpu"},
    "dorefa/op": {"cpu", "dorefa/cpu", "tensorflow"},
    "pool/op": {"tensorflow"},
    "shift2d/core": set(),
    "shift2d/cpu": {"cpu", "shift2d/core"},
    "shift2d/gpu": {"shift2d/core"},
    "shift2d/op": {"cpu", "shift2d/core", "shift2d/cpu", "shift2d/gpu", "tensorflow"},
    "slq": set(),
}


def includes(name):
    """Folders of custom_ops that a file includes from, and TensorFlow."""
    for path in re.findall(r'^#include "(.*)"', setup.read(name), re.M):
        if path.startswith("custom_ops/"):
            yield os.path.dirname(path[len("custom_ops/") :])
        else:
            assert path.startswith("tensorflow/"), path
            yield "tensorflow"


def test_files_include_only_what_their_folder_may_know():
    folders = setup.OPS + setup.SLQ
    names = [name for ending in (".h", ".cc", ".cu") for name in setup.find(folders, ending)]
    seen = set()
    for name in names:
        folder = os.path.relpath(os.path.dirname(name), "custom_ops")
        seen.add(folder)
        for other in includes(name):
            assert other == folder or other in ALLOWED[folder], f"{name} includes {other}"
    assert seen == set(ALLOWED)
