"""What docs/packed-format.md promises: its examples, the reader without sspq, and sizes."""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

from sspq import models
from sspq.export.packed import container
from sspq.export.packed.encoding import decode
from sspq.export.packed.pack import pack, unpack
from tests.export.packed_files import content, packed

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
READER = os.path.join(ROOT, "examples", "read_packed.py")


def page():
    with open(os.path.join(ROOT, "docs", "packed-format.md")) as f:
        return f.read()


@pytest.fixture(scope="module")
def read():
    spec = importlib.util.spec_from_file_location("read_packed", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read


def test_the_examples_of_the_page_run_in_order():
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", page(), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        exec(block, names)


def test_the_page_s_checksum_is_the_file_s(tmp_path):
    path = str(tmp_path / "m")
    container.write(path, packed())
    names = {"hashlib": hashlib}
    exec(re.search(r"def is_whole.*?\n\n", page(), re.DOTALL).group(), names)
    with safe_open(path, "np") as f:
        assert names["is_whole"](content(path), f.metadata()["checksum"])


@pytest.mark.parametrize("coding", ["plain", "xz"])
def test_the_reader_has_the_same_values_of_every_scheme(coding, read, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, packed(), coding)
    found = read(path)
    assert found.keys() == packed().tensors.keys()
    for name, tensor in packed().tensors.items():
        expected = decode(tensor)
        assert found[name].dtype == np.float32 and found[name].shape == expected.shape
        assert found[name].tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("coding", ["plain", "xz"])
@pytest.mark.parametrize("fold_bn", [False, True])
@pytest.mark.parametrize("bits", [1, 4])
def test_the_reader_has_all_variables_of_a_network(bits, fold_bn, coding, read, saved, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, pack(saved(bitw=bits).source, fold_bn=fold_bn), coding)
    values = unpack(container.read(path)).values
    with safe_open(path, "np") as f:
        norm = json.loads(f.metadata()["batch_norm"])
    rows = {"factor": "gamma", "offset": "beta"}
    found = {}
    for name, array in read(path).items():
        if name.endswith("/*"):
            found.update({name[:-1] + rows.get(r, r): a for r, a in zip(norm["rows"], array)})
            if fold_bn:
                zeros = np.zeros(array.shape[1], np.float32)
                found[name[:-1] + "mean/EMA"] = zeros
                found[name[:-1] + "variance/EMA"] = zeros + np.float32(1 - norm["epsilon"])
        else:
            found[name] = array
    assert found.keys() == values.keys()
    for name, expected in values.items():
        assert found[name].dtype == np.float32 and found[name].shape == expected.shape
        assert found[name].tobytes() == expected.tobytes(), name


def test_the_reader_is_a_program_of_40_lines_that_needs_no_sspq(tmp_path):
    with open(READER) as f:
        text = f.read()
    assert len(text.splitlines()) <= 40
    imported = re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
    assert set(imported) == {"json", "lzma", "sys", "numpy", "safetensors"}
    path = str(tmp_path / "m")
    container.write(path, packed())
    lines = subprocess.run(
        [sys.executable, READER, path], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(packed().tensors)
    assert lines[0] == "a/W (1, 1, 12, 10) sign 1 -0.3 0.3"
    assert re.match(r"d/b \(10,\) float 16 -?\d", lines[4])


def excess(model_file, content_of):
    """Bytes beyond the counted ones, and how many the page allows."""
    size = container.write(str(model_file), content_of)
    return size - content_of.nbytes, 0.01 * content_of.nbytes + 120 * len(content_of.tensors)


@pytest.mark.parametrize("fold_bn", [False, True])
@pytest.mark.parametrize("bits", [1, 4])
def test_the_header_is_within_its_bound(bits, fold_bn, saved, tmp_path):
    beyond, bound = excess(tmp_path / "m", pack(saved(bitw=bits).source, fold_bn=fold_bn))
    assert 0 < beyond <= bound


@pytest.mark.parametrize(
    "name, expected",
    [
        ("sspq34", dict(size=[32, 32], channels="RGB", resize_to=32, crop=None, dtype="float32")),
        ("lspq50", dict(size=[224, 224], channels="BGR", resize_to=256, crop="centre")),
        ("alexnet", dict(size=[227, 227], channels="BGR", resize_to=256, dtype="uint8")),
    ],
)
def test_preprocessing_is_said(name, expected):
    found = models.build(name).preprocessing.describe()
    assert {key: found[key] for key in expected} == expected
    keys = set(re.findall(r"`(\w+)`", page().split("## Preprocessing")[1].split("## ")[0]))
    assert set(found) <= keys


def test_a_network_s_file_says_what_a_reader_needs(saved, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, pack(saved(bitw=4).source))
    with safe_open(path, "np") as f:
        meta = {
            k: v if k in ("format", "checksum") else json.loads(v) for k, v in f.metadata().items()
        }
        shapes = {name: f.get_slice(name).get_shape() for name in f.keys()}
    assert meta["model"]["model"] == "SSPQ34"
    assert meta["classes"] == {"count": 10, "names": None}
    assert meta["preprocessing"]["subtracts"] == "mean image of the training set"
    assert meta["batch_norm"]["epsilon"] == pytest.approx(1e-4)
    assert shapes["conv2/bnlast/*"] == [4, 16] and shapes["conv1/W"] == [3, 3, 3, 16]
    assert meta["tensors"]["conv5blk2/conv1x1b/W"]["shape"] == [1, 1, 128, 128]
    assert shapes["conv5blk2/conv1x1b/W"] == [128 * 128 * 4 // 8]
