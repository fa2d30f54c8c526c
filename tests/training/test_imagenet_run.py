"""The ImageNet scripts really training: a small network, a few JPEG files, a few epochs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tensorpack.dataflow import FakeData

from sspq.compat import tf
from sspq.data import imagenet
from sspq.training import checkpoint, history, trainers
from sspq.training.imagenet import main
from tests.data import ilsvrc
from tests.training.imagenet_steps import EXAMPLES, options_of, step_of
from tests.training.killing import Killed, kill_when_saved

# ResNet-18's depth, 12 training images of 3 classes, 3 steps an epoch.
SMALL = ["--depth", "18", "--image-size", "32", "--batch", "4", "--processes", "0"]


def run(script, *options):
    """Runs an example's main on a graph of its own; returns its exit status."""
    with tf.Graph().as_default():
        return main(step_of(script), None, SMALL + [str(o) for o in options])


def report(folder):
    with open(os.path.join(str(folder), "report.json")) as f:
        return json.load(f)


def values(folder):
    reader = tf.train.NewCheckpointReader(checkpoint.last_complete(str(folder)))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def same(one, other):
    return set(one) == set(other) and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return ilsvrc.make(tmp_path_factory.mktemp("images") / "tree")


@pytest.fixture(scope="module", autouse=True)
def scan_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


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
    assert "top-1 %.2f %%  top-5 %.2f %%" % (trained["top1"], 100) in capsys.readouterr().out


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


@pytest.mark.parametrize("options", [(), ("--symbolic",)])
def test_a_killed_run_goes_on_to_the_same_bits(tree, tmp_path, monkeypatch, options):
    options += ("--data", tree, "--epochs", 2, "--val-every", 2, "--resume")
    assert run("SSQ_S1", "--log", tmp_path / "whole", *options) == 0
    with monkeypatch.context() as patch:
        kill_when_saved(patch, 1)
        with pytest.raises(Killed):
            run("SSQ_S1", "--log", tmp_path / "killed", *options)
    assert len(history.read(str(tmp_path / "killed"))) == 1
    assert run("SSQ_S1", "--log", tmp_path / "killed", *options) == 0
    assert same(values(tmp_path / "killed"), values(tmp_path / "whole"))


def once(tree, folder, *options, script="SSQ_S1"):
    """One epoch; its checkpoint's values."""
    assert run(script, "--data", tree, "--epochs", 1, "--log", folder, *options) == 0
    return values(folder)


@pytest.fixture(scope="module")
def plain(tree, tmp_path_factory):
    """One epoch with the released options."""
    folder = tmp_path_factory.mktemp("plain")
    once(tree, folder)
    return folder


def test_the_same_seed_gives_the_same_bits_however_many_processes_read(tree, plain, tmp_path):
    assert same(once(tree, tmp_path, "--processes", 2), values(plain))


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", 1),
        ("--no-mirror",),
        ("--no-colour",),
        ("--min-area", 0.9),
        ("--shift-normalize",),
    ],
)
def test_options_of_data_and_training_change_the_weights(tree, plain, tmp_path, options):
    assert not same(once(tree, tmp_path, *options), values(plain))


def test_shift_lr_mult_0_leaves_shifts_where_they_are(tree, tmp_path):
    options = ("--data", tree, "--log", tmp_path, "--epochs", 2, "--shift-lr-mult", 0)
    assert run("SSQ_S1", *options) == 0
    first, last = [tf.train.NewCheckpointReader(str(tmp_path / n)) for n in ("model-3", "model-6")]
    shifts = [n for n in values(tmp_path) if n.endswith("/SP")]
    assert len(shifts) == 8
    for name in shifts:
        np.testing.assert_array_equal(first.get_tensor(name), last.get_tensor(name))
    assert not np.array_equal(first.get_tensor("linear/W"), last.get_tensor("linear/W"))


def test_weight_decay_norm_adds_the_decay_of_gamma_and_beta(tree, tmp_path):
    costs = []
    for options in ((), ("--weight-decay-norm",)):
        folder = tmp_path / str(len(options))
        end = once(tree, folder, "--base_lr", 1e-9, "--eta_min", 1e-10, *options)
        costs.append(history.read(str(folder))[0]["train_cost"])
    gammas = sum(v.size for n, v in end.items() if n.endswith("/gamma"))
    assert costs[1] - costs[0] == pytest.approx(1e-4 / 2 * gammas, rel=1e-3)


def test_symbolic_trains_on_the_same_labels(tree, tmp_path):
    once(tree, tmp_path, "--symbolic")
    assert report(tmp_path)["symbolic"] and report(tmp_path)["dataset"]["train_images"] == 12


@pytest.mark.parametrize("options, model, bits", [
    (("--mode", "resnet"), "resnet_model3 resnet18", (32, 32, 32)),
    (("--graph", "resnet_model2", "--bitw", 2), "resnet_model2 QresIBShift18", (2, 4, 32)),
    (("--bita", 3, "--linear-bits", 8), "resnet_model3 QresIBShift18", (4, 3, 8)),
])  # fmt: skip
def test_the_network_is_the_one_asked_for(tree, tmp_path, options, model, bits):
    variables = once(tree, tmp_path, "--val-every", 9, *options)
    r = report(tmp_path)
    assert r["model"] == model and tuple(r["bits"][k] for k in (
        "weights", "activations", "linear")) == bits  # fmt: skip
    assert ("group0/block0/shift_q/SP/SP" in variables) == ("QresIBShift" in model)


def test_the_first_sspq_has_a_script(tree, tmp_path):
    once(tree, tmp_path, script="SSPQ")
    assert report(tmp_path)["model"] == "resnet_model2 QresIBShift18"
    assert report(tmp_path)["bits"] == {"weights": 1, "activations": 4, "linear": 32}


def test_the_variant_released_leaves_weights_in_float(tree, tmp_path):
    once(tree, tmp_path, "--variant", "released")
    assert report(tmp_path)["quantized_bytes"] == report(tmp_path)["float32_bytes"]


def test_fake_needs_no_data_and_reports_the_speed(tmp_path, monkeypatch):
    monkeypatch.delenv("Imagenet_Path", raising=False)
    assert run("SSQ_S2", "--fake", "--batch", 2, "--log", tmp_path) == 0
    r = report(tmp_path)
    assert r["images_per_second"] == pytest.approx(200 / r["seconds"])
    assert r["num_classes"] == 1000 and r["top1"] is None


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


def test_the_environment_names_the_folder(tree, tmp_path, monkeypatch):
    monkeypatch.setenv("Imagenet_Path", tree)
    assert options_of("SSQ_S1").data == tree


def test_gpus_are_chosen_before_tensorflow_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run("SSQ_S1", "--gpu", "2,3", "--data", tmp_path / "nowhere") == 2
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_s2_asks_for_a_rate_where_there_is_none_to_go_on_with(tree, tmp_path, capsys):
    weights = tmp_path / "weights.npz"
    np.savez(str(weights), **{"linear/W": np.zeros([512, 10], np.float32)})
    assert run("SSQ_S2", "--data", tree, "--load", weights, "--log", tmp_path / "s2") == 2
    assert "`--base_lr` is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["async", "replicated", "parameter-server"])
def test_every_trainer_trains_with_two_towers(tree, tmp_path, monkeypatch, name):
    # Two copies of the model, which TensorFlow puts on the CPU for want of a GPU.
    monkeypatch.setattr(trainers, "towers", lambda trainer: 2)
    made = []
    make = trainers.trainer
    monkeypatch.setattr(trainers, "trainer", lambda *a: made.append(make(*a)) or made[-1])
    assert len(once(tree, tmp_path, "--trainer", name)) > 100
    kind = {"async": "AsyncMultiGPU", "replicated": "Replicated", "parameter-server": "Parameter"}
    assert kind[name] in type(made[0]).__name__
    r = report(tmp_path)
    assert r["trainer"] == name and values(tmp_path)["global_step"] == 3 and r["top1"] is not None


def test_the_classes_order_of_official_files_is_taken(tmp_path):
    tree = ilsvrc.make(tmp_path / "tree", flat=False)
    ilsvrc.put(tmp_path, "meta/synsets.txt", "".join(c + "\n" for c in ilsvrc.CLASSES[::-1]))
    once(tree, tmp_path / "run", "--meta-dir", tmp_path / "meta")
    found = imagenet.find(tree, str(tmp_path / "meta"))
    assert found.classes == ilsvrc.CLASSES[::-1]
    once(tree, tmp_path / "other")
    assert not same(values(tmp_path / "run"), values(tmp_path / "other"))


def test_a_tree_with_every_defect_trains_and_evaluation_names_the_files(tmp_path, capsys):
    tree = ilsvrc.make(tmp_path / "tree")
    ilsvrc.add_defects(tree)
    assert run("SSQ_S1", "--data", tree, "--epochs", 1, "--log", tmp_path / "no") == 2
    error = capsys.readouterr().err
    for name in ilsvrc.BAD:
        assert "val/" + name in error
    assert "--skip-bad" in error and "Traceback" not in error
    once(tree, tmp_path / "run", "--skip-bad")
    r = report(tmp_path / "run")
    usable = 12 + len(ilsvrc.UNUSUAL)
    assert r["dataset"]["train_images"] == usable
    assert r["dataset"]["test_images"] == 6 + len(ilsvrc.UNUSUAL)
    assert r["dataset"]["found"]["truncated"] == 10


def test_an_error_of_the_reading_thread_is_told(tree, tmp_path, capsys, monkeypatch):
    import sspq.data.imagenet_flow as flow

    monkeypatch.setattr(flow, "decode", lambda path: None if "/train/" in path else 1 / 0)
    assert run("SSQ_S1", "--data", tree, "--epochs", 2, "--log", tmp_path) == 2
    assert "cannot decode" in capsys.readouterr().err
    assert not os.path.exists(str(tmp_path / "report.json"))


@pytest.mark.parametrize(
    "script, options, message",
    [
        ("SSQ_S2", ("--data", "x"), "`--load` is missing: give S1's checkpoint or log folder"),
        ("SSQ_S1", ("--eval", "--data", "x"), "`--load` is missing: give a checkpoint"),
        ("SSQ_S1", ("--data", "/nowhere"), "no such directory"),
        ("SSQ_S1", ("--data", ""), "`--data` is missing: give the ILSVRC folder"),
        ("SSQ_S1", ("--fake", "--eval", "--load", "x"), "`--fake` has no images to evaluate on"),
        ("SSQ_S1", ("--fake", "--batch", 0), "`--batch` must be at least 1, got 0"),
        ("SSQ_S1", ("--flops", "--batch", 0), "`--batch` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--epochs", 0), "`--epochs` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--val-every", 0), "`--val-every` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--image-size", 0), "`--image-size` must be at least 1, got 0"),
        ("SSQ_S1", ("--fake", "--base_lr", 0), "`--base_lr` must be above 0, got 0"),
        ("SSQ_S1", ("--fake", "--min-area", 0), "`area` must be two numbers"),
        ("SSQ_S1", ("--fake", "--bitw", 33), "`bitw` must be"),
        ("SSQ_S1", ("--fake", "--mode", "se"), "`depth` must be one of (50, 101, 152)"),
        ("SSQ_S1", ("--fake", "--data-format", "NCHW"), "needs a GPU"),
        ("SSQ_S1", ("--fake", "--processes", -1), "`--processes` must be at least 0"),
        ("SSQ_S1", ("--fake", "--seed", -1), "`--seed` must be in [0, 2**32), got -1"),
    ],
)
def test_wrong_options_give_one_line_that_names_them(script, options, message, tmp_path, capsys):
    assert run(script, "--log", tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_batch_beyond_the_images_is_refused(tree, tmp_path, capsys):
    assert run("SSQ_S1", "--data", tree, "--batch", 13, "--log", tmp_path) == 2
    assert "`--batch` must be at most the 12 training images, got 13" in capsys.readouterr().err


def test_the_scripts_run_as_programs(tmp_path):
    for script in ("SSQ_S1", "SSQ_S2", "SSPQ"):
        path = os.path.join(EXAMPLES, "imagenet-%s.py" % script)
        done = subprocess.run([sys.executable, path, "--help"], stdout=subprocess.PIPE, check=True)
        assert b"--weight-decay-norm" in done.stdout
