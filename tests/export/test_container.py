"""A packed file is read as it was written, by any reader of safetensors."""

import json
import struct

import numpy as np
import pytest
import safetensors

from sspq.export.packed import container, layout
from sspq.export.packed.container import Packed
from sspq.export.packed.encoding import encode_codebook, encode_float
from tests.export.packed_files import KERNEL, assert_same_tensors, content, header, packed


@pytest.mark.parametrize("coding", layout.CODINGS)
def test_everything_comes_back(coding, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, packed(), coding)
    before, after = packed(), container.read(path)
    assert after.model == before.model and after.facts == before.facts
    assert after.about == before.about
    assert_same_tensors(after, before)


@pytest.mark.parametrize("coding", layout.CODINGS)
def test_a_file_may_hold_nothing(coding, tmp_path):
    path = str(tmp_path / "m")
    container.write(path, Packed({}, {}, {}), coding)
    about = {key: {} for key in container.ABOUT}
    assert container.read(path) == Packed({}, {}, {}, path, about)


def test_entropy_coding_is_close_to_the_entropy(tmp_path):
    """Codes as SLQ leaves them: nine of ten are the centre at zero."""
    chance = np.array([0.9] + [0.1 / 16] * 16)
    book = np.arange(17, dtype=np.float32)
    values = np.random.RandomState(0).choice(book, 400000, p=chance)
    model = Packed({}, {"W": encode_codebook(values)}, {})
    plain = container.write(str(tmp_path / "plain"), model)
    coded = container.write(str(tmp_path / "xz"), model, "xz")
    entropy = -(chance * np.log2(chance)).sum() * len(values) / 8
    assert 400000 * 5 / 8 < plain < 400000 * 5 / 8 + 1000
    assert entropy < coded < 1.25 * entropy


def test_the_same_content_gives_the_same_bytes(file, tmp_path):
    other = str(tmp_path / "other")
    assert container.write(other, packed()) == len(content(file))
    assert content(other) == content(file)


def test_any_safetensors_reader_opens_it_and_finds_the_tensors_by_their_names(file):
    with safetensors.safe_open(file, "np") as f:
        found = {name: f.get_tensor(name) for name in f.keys()}
        meta = f.metadata()
    assert {name: (a.dtype.name, list(a.shape)) for name, a in found.items()} == {
        "a/W": ("uint8", [15]),
        "b/W": ("uint8", [60]),
        "c/W": ("uint8", [100]),
        "d/W": ("uint8", [120]),
        "d/b": ("float16", [10]),
        "e": ("float32", [1, 1, 12, 10]),
        "scales": ("float32", [1 + 10]),
        "centres": ("float32", [3]),
    }
    assert meta["format"] == "sspq 3" and json.loads(meta["model"])["model"] == "SSPQ34"
    assert json.loads(meta["tensors"]) == {
        "a/W": {"scheme": "sign", "bits": 1, "shape": [1, 1, 12, 10], "scales": [0, 1]},
        "b/W": {"scheme": "quotients", "bits": 4, "shape": [1, 1, 12, 10]},
        "c/W": {"scheme": "codebook", "bits": 2, "shape": [20, 20], "centres": [0, 3]},
        "d/W": {"scheme": "uniform", "bits": 8, "shape": [12, 10], "scales": [1, 11]},
    }


def test_every_tensor_is_aligned(file):
    for name, entry in header(content(file)).items():
        if name != "__metadata__":
            width = {"U8": 1, "F16": 2, "F32": 4}[entry["dtype"]]
            assert entry["data_offsets"][0] % width == 0, name
    assert struct.unpack("<Q", content(file)[:8])[0] % 8 == 0


def test_only_tensors_that_get_smaller_are_entropy_coded(tmp_path):
    rng, book = np.random.RandomState(0), np.arange(16, dtype=np.float32)
    values = {"rare/W": rng.rand(20000) < 0.01, "even/W": rng.randint(0, 16, 20000)}
    tensors = {name: encode_codebook(book[v.astype(int)]) for name, v in values.items()}
    path = str(tmp_path / "m")
    container.write(path, Packed({}, tensors, {}), "xz")
    described = json.loads(header(content(path))["__metadata__"]["tensors"])
    assert described["rare/W"]["coding"] == "xz" and "coding" not in described["even/W"]
    for name, tensor in container.read(path).tensors.items():
        np.testing.assert_array_equal(tensor.parts["codes"], tensors[name].parts["codes"])


@pytest.mark.parametrize("name", ["scales", "centres"])
def test_the_name_of_a_shared_array_is_no_tensor_s(name, tmp_path):
    tensors = {name: encode_float(KERNEL, "float32")}
    with pytest.raises(ValueError, match=f"cannot have the name '{name}'"):
        container.write(str(tmp_path / "m"), Packed({}, tensors, {}))
    assert not list(tmp_path.iterdir())
