"""``python -m sspq pack``, ``inspect`` and ``unpack``."""

import json

import numpy as np
import pytest

from sspq.commands.main import main
from tests.commands.calls import error, output


def test_a_refused_pack_leaves_the_old_file_alone(lenet, tmp_path, capsys):
    file = tmp_path / "m.sspq.safetensors"
    file.write_bytes(b"old")
    for arguments, why in (
        (("--data", tmp_path / "nope"), "nope"),
        (("--images", "-5"), "`--images` must be at least 0, got -5"),
        (("--data", "digits", "--images", 0), "`--images` must be at least 1 with `--data`, got 0"),
    ):
        assert main([str(a) for a in ("pack", lenet, "-o", file, *arguments)]) == 2
        out, err = capsys.readouterr()
        assert why in err and len(err.splitlines()) == 1 and not out
        assert file.read_bytes() == b"old"


@pytest.mark.parametrize(
    "count, told", [(100, "100 test images:"), (100000, "360 test images, all there are:")]
)
def test_packing_compares_as_many_test_images_as_asked_for(count, told, lenet, tmp_path, capsys):
    file = tmp_path / "m.sspq.safetensors"
    text = output(capsys, "pack", lenet, "-o", file, "--data", "digits", "--images", count)
    number = told.split()[0]
    assert f"logits of {told} off by at most 0," in text
    assert text.endswith(f"the largest is the same in {number}\n")


def test_packing_compares_as_much_noise_as_asked_for(lenet, tmp_path, capsys):
    text = output(capsys, "pack", lenet, "-o", tmp_path / "m.safetensors", "--images", 70)
    assert "logits of 70 images of noise: " in text and "the same in 70\n" in text


def test_a_packed_file_can_be_looked_into_and_unpacked(folder, tmp_path, capsys):
    file, arrays = tmp_path / "m.sspq.safetensors", tmp_path / "m.npz"
    output(capsys, "pack", folder, "-o", file, "--images", 0, "--fold-bn", "--rest", "float16")
    state = json.loads(output(capsys, "inspect", file, "--json"))
    assert state["model"]["model"] == "SSPQ34" and state["file_bytes"] == file.stat().st_size
    assert state["tensors"]["conv3blk1/conv1x1a/W"]["values"] <= 16
    assert state["tensors"]["fct/W"]["bits"] == 16
    text = output(capsys, "inspect", file)
    assert "conv3blk1/conv1x1a/W" in text and "header" in text
    output(capsys, "unpack", file, "-o", arrays)
    with np.load(arrays) as values:
        assert len(np.unique(values["conv3blk1/conv1x1a/W"])) <= 16
        assert (values["conv2/bnlast/mean/EMA"] == 0).all()


@pytest.mark.slow
def test_entropy_coded_files_are_smaller_and_read_alike(folder, tmp_path, capsys):
    plain, coded = tmp_path / "p.sspq.safetensors", tmp_path / "c.sspq.safetensors"
    output(capsys, "pack", folder, "-o", plain, "--images", 0)
    text = output(capsys, "pack", folder, "-o", coded, "--entropy-coded")
    assert "by entropy coding" in text and "off by at most 0," in text
    assert coded.stat().st_size < plain.stat().st_size
    first, second = [json.loads(output(capsys, "inspect", f, "--json")) for f in (plain, coded)]
    assert first["tensors"] == second["tensors"]


def test_unpacking_leaves_an_old_file_alone_where_it_cannot_be_written(
    lenet, tmp_path, capsys, monkeypatch
):
    file, arrays = tmp_path / "m.sspq.safetensors", tmp_path / "m.npz"
    output(capsys, "pack", lenet, "-o", file, "--images", 0)
    arrays.write_bytes(b"old")

    def full(f, **values):
        f.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert "No space left" in error(capsys, "unpack", file, "-o", arrays)
    assert arrays.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
