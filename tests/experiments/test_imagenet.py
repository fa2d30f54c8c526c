"""The ImageNet scripts really training: a small network, a few JPEG files, a few epochs."""

import os

import numpy as np
import pytest
from tensorpack.dataflow import FakeData

from sspq.experiments.inputs import ilsvrc as imagenet_input
from sspq.runs import history
from tests.experiments.imagenet_steps import run
from tests.experiments.runs import report, values


@pytest.fixture(scope="module")
def s1(tree, tmp_path_factory):
    """The folder of a finished S1 run: three epochs, the second not validated."""
    folder = tmp_path_factory.mktemp("chain") / "s1"
    options = ("--epochs", 3, "--val-every", 3, "--base_lr", 3.2, "--step_size", 1)
    assert run("SSQ_S1", "--data", tree, "--log", folder, "--wup_length", 1, *options) == 0
    return folder


def test_s1_reports_what_it_trained_and_measured(s1):
    r, rows = report(s1), history.read(str(s1))
    assert (r["model"], r["step"]) == ("resnet_model3 QresIBShift18", "S1")
    assert r["bits"] == {"weights": 4, "activations": 32, "linear": 32}
    assert r["dataset"] == {
        "name": "ILSVRC folder", "train_images": 12, "test_images": 6, "classes": 3, "found": {},
    }  # fmt: skip
    trained = {
        n: v for n, v in values(s1).items() if n.rsplit("/")[-1] in "W b gamma beta SP".split()
    }
    assert r["trainable_parameters"] == sum(v.size for v in trained.values())
    assert r["quantized_bytes"] < r["float32_bytes"] / 5
    assert [row["epoch"] for row in rows] == [1, 2, 3] and r["epochs"] == 3
    assert r["top1"] == rows[2]["top1"] and 0 <= r["top1"] <= r["top5"] == 100
    assert int(values(s1)["global_step"]) == 9


def test_val_every_leaves_epochs_out_but_not_the_last(s1):
    assert [row["top1"] is None for row in history.read(str(s1))] == [True, True, False]


def test_the_rate_follows_the_batch_and_the_schedule(s1):
    # 3.2 * 4 / 256; then (1 + cos(pi (e - 1)/2)) / 2, with the floor's share.
    rates = [row["learning_rate"] for row in history.read(str(s1))]
    np.testing.assert_allclose(
        rates, [0.05, 0.05 * (1e-5 + (1 - 1e-5) / 2), 0.05 * 5e-6], rtol=1e-4
    )


def test_s2_goes_on_with_s1_s_weights_and_rate(s1, tree, tmp_path):
    assert run("SSQ_S2", "--data", tree, "--load", s1, "--log", tmp_path) == 0
    r, first, second = report(tmp_path), values(s1), values(tmp_path)
    assert (r["model"], r["step"]) == ("resnet_model4 QresIBShift18", "S2")
    assert r["bits"] == {"weights": 4, "activations": 8, "linear": 32} and r["epochs"] == 1
    assert set(first) == set(second) and second["global_step"] == 3
    assert history.read(str(tmp_path))[0]["learning_rate"] == pytest.approx(1e-5)  # its floor
    for name in first:
        if name.endswith(("/W", "/SP", "/gamma")):
            np.testing.assert_allclose(second[name], first[name], atol=1e-3, err_msg=name)


@pytest.mark.parametrize("options", [(), ("--symbolic",)])
def test_eval_gives_the_report_s_top_1(s1, tree, tmp_path, options, capsys):
    assert run("SSQ_S1", "--eval", "--load", s1, "--data", tree, "--log", tmp_path, *options) == 0
    measured, trained = report(tmp_path), report(s1)
    assert measured["top1"] == pytest.approx(trained["top1"])
    assert measured["dataset"]["test_images"] == 6
    assert f"top-1 {trained['top1']:.2f} %  top-5 {100:.2f} %" in capsys.readouterr().out


def test_eval_needs_no_training_images_and_takes_the_classes_of_the_network(s1, tree, tmp_path):
    alone = tmp_path / "tree"
    alone.mkdir()
    for name in ("val", "val.txt"):
        os.symlink(os.path.join(tree, name), str(alone / name))
    assert run("SSQ_S1", "--eval", "--load", s1, "--data", alone, "--log", tmp_path) == 0
    assert report(tmp_path)["top1"] == pytest.approx(report(s1)["top1"])
    assert report(tmp_path)["num_classes"] == 3


def test_eval_refuses_another_network_than_the_run_trained(s1, tree, tmp_path, capsys):
    options = ("--data", tree, "--log", tmp_path / "eval", "--image-size", 64)
    assert run("SSQ_S2", "--eval", "--load", s1, *options) == 2
    error = capsys.readouterr().err
    assert "model is 'resnet_model3 QresIBShift18' there and 'resnet_model4 QresIBShift18'" in error
    assert "--graph, --mode, --depth" in error
    assert "bits.activations is 32 there and 8 now (--bita)" in error
    assert "image_size is 32 there and 64 now (--image-size)" in error
    assert error.count("\n") == 1 and not (tmp_path / "eval").exists()


def test_eval_does_not_write_over_a_run(s1, tree, capsys):
    before = report(s1)
    assert run("SSQ_S1", "--eval", "--load", s1, "--data", tree, "--log", s1) == 2
    assert "holds a training run" in capsys.readouterr().err
    assert report(s1) == before


@pytest.mark.usefixtures("one_block_a_group")
def test_fake_needs_no_data_and_reports_the_speed(tmp_path, monkeypatch):
    monkeypatch.delenv("Imagenet_Path", raising=False)
    assert imagenet_input.FAKE_STEPS == 100
    assert run("SSQ_S2", "--fake", "--batch", 2, "--log", tmp_path) == 0
    r = report(tmp_path)
    assert r["images_per_second"] == pytest.approx(200 / r["seconds"])
    assert r["num_classes"] == 1000 and r["top1"] is None


@pytest.mark.usefixtures("one_block_a_group")
def test_made_up_images_that_do_not_fit_are_told(tmp_path, monkeypatch, capsys):
    def no_room(flow):
        raise MemoryError("Unable to allocate 28.7 GiB")
        yield  # it fails when the first batch is asked for

    monkeypatch.setattr(FakeData, "__iter__", no_room)
    assert run("SSQ_S1", "--fake", "--batch", 2, "--log", tmp_path) == 2
    assert "out of memory with a `--batch` of 2," in capsys.readouterr().err


def test_flops_tells_the_work_of_every_layer_and_trains_nothing(tmp_path, capsys):
    status = run("SSQ_S1", "--flops", "--depth", 50, "--image-size", 224, "--log", tmp_path / "log")
    out = capsys.readouterr().out
    assert status == 0 and not (tmp_path / "log").exists()
    total = next(line for line in out.splitlines() if line.startswith("total"))
    # 2.19 G multiply-adds, of which conv0 takes 112 * 112 * 64 * 7 * 7 * 3, and 1,000 * 512.
    pointwise, spatial, linear, shift = [int(n.replace(",", "")) for n in total.split()[-4:]]
    assert (spatial, linear) == (112 * 112 * 64 * 147, 512000)
    assert round((pointwise + spatial + linear) / 1e9, 2) == 2.19
    assert shift > 0 and "group0/block0/conv1x1a" in out and "11,668,520" in total


def test_gpus_are_chosen_before_tensorflow_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run("SSQ_S1", "--gpu", "2,3", "--data", tmp_path / "nowhere") == 2
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_s2_asks_for_a_rate_where_there_is_none_to_go_on_with(tree, tmp_path, capsys):
    weights = tmp_path / "weights.npz"
    np.savez(str(weights), **{"linear/W": np.zeros([512, 10], np.float32)})
    assert run("SSQ_S2", "--data", tree, "--load", weights, "--log", tmp_path / "s2") == 2
    assert "`--base_lr` is missing" in capsys.readouterr().err


@pytest.mark.usefixtures("one_block_a_group")
def test_an_error_of_the_reading_thread_is_told(tree, tmp_path, capsys, monkeypatch):
    from sspq.data.ilsvrc import flow

    monkeypatch.setattr(flow, "decode", lambda path: None if "/train/" in path else 1 / 0)
    assert run("SSQ_S1", "--data", tree, "--epochs", 2, "--log", tmp_path) == 2
    assert "cannot decode" in capsys.readouterr().err
    assert not os.path.exists(str(tmp_path / "report.json"))
