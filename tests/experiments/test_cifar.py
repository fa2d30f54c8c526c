"""Steps that really train: a few images, a few epochs, the whole graph."""

import os
import shutil

import numpy as np
import pytest

from sspq import checkpoints
from sspq.compat import tf
from sspq.experiments.inputs import ImagesInput, ImagesSettings, memory
from sspq.files import read_json
from sspq.models.cifar import SMALL_IMAGES
from sspq.runs import history
from sspq.training.distributed import Processes
from tests.experiments.killing import Killed, kill_when_saved
from tests.experiments.runs import assert_same, report, values
from tests.experiments.scripts import run_example
from tests.tiny import tiny_digits

OPTIONS = ["--data", "digits", "--batch", "32", "--wup_length", "0", "--step_size", "1"]


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory.datasets, "load", lambda spec, download=False: tiny_digits())
        yield


def script(step, *options):
    """Runs a script on a graph of its own; returns its exit status."""
    return run_example(f"ResIBShift34-dorefa-{step}", [*OPTIONS, *options])


@pytest.fixture(scope="module")
def s1(tmp_path_factory):
    """The folder of a finished S1 run of three epochs."""
    folder = tmp_path_factory.mktemp("chain") / "s1"
    assert script("s1", "--max_epoch", 3, "--log", folder) == 0
    return folder


def test_a_step_leaves_report_history_events_and_checkpoint(s1):
    r = report(s1)
    assert r["model"] == "SSPQ34" and r["step"] == "S1"
    assert r["bits"] == {"weights": 8, "activations": 32, "gradients": 32}
    assert r["dataset"] == {
        "name": "digits", "train_images": 64, "test_images": 32, "classes": 10
    }  # fmt: skip
    assert r["trainable_parameters"] == 150634
    assert r["float32_bytes"] == 4 * 150634
    # 34 kernels at 8 bits, the rest in float32.
    kernels = sum(
        v.size for n, v in values(s1).items()
        if n.endswith("/W") and n not in ("conv1/W", "fct/W")
    )  # fmt: skip
    assert r["quantized_bytes"] == kernels + 4 * (150634 - kernels)
    rows = history.read(str(s1))
    assert [row["epoch"] for row in rows] == [1, 2, 3] and r["epochs"] == 3
    assert r["top1"] == rows[-1]["top1"] and r["top5"] == rows[-1]["top5"]
    assert r["seconds"] == sum(row["seconds"] for row in rows)
    assert {"sspq", "tensorflow", "numpy"} <= set(r["versions"])
    names = os.listdir(str(s1))
    assert any(n.startswith("events.out") for n in names) and "history.csv" in names


def test_events_hold_histograms_of_quantized_weights_and_of_shifts(s1):
    tags = set()
    for name in os.listdir(str(s1)):
        if name.startswith("events.out"):
            for event in tf.train.summary_iterator(str(s1 / name)):
                tags |= {v.tag for v in event.summary.value if v.HasField("histo")}
    assert sum(t.endswith("/quantized") for t in tags) == 34
    assert sum("/SP" in t for t in tags) == 15


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(s1, tmp_path, monkeypatch):
    options = ("--max_epoch", 3, "--log", tmp_path, "--resume")
    with pytest.MonkeyPatch.context() as patch:
        kill_when_saved(patch, 1)
        with pytest.raises(Killed):
            script("s1", *options)
    assert len(history.read(str(tmp_path))) == 1 and not (tmp_path / "report.json").exists()
    _release(tmp_path)
    assert script("s1", *options) == 0
    assert_same(values(tmp_path), values(s1))
    for row, wanted in zip(history.read(str(tmp_path)), history.read(str(s1))):
        assert {k: v for k, v in row.items() if k != "seconds"} == {
            k: v for k, v in wanted.items() if k != "seconds"
        }


def _release(folder):
    """Drops the lock that a really killed process would have dropped."""
    import gc

    gc.collect()
    assert (folder / ".lock").exists()


def test_a_finished_step_is_skipped(s1, capsys):
    before = (s1 / "report.json").stat().st_mtime_ns
    assert script("s1", "--max_epoch", 3, "--log", s1, "--resume") == 0
    assert "finished already" in capsys.readouterr().out
    assert (s1 / "report.json").stat().st_mtime_ns == before


def test_a_run_with_other_settings_is_not_touched(s1, capsys):
    assert script("s1", "--max_epoch", 3, "--log", s1, "--resume", "--seed", 1) == 2
    assert "seed is 0 there and 1 now" in capsys.readouterr().err


def test_s2_takes_all_of_s1_but_its_rate_and_step_count(s1, tmp_path, capfd):
    # At that rate nothing moves: what S2 ends with is what it began with.
    options = ("--load", s1, "--log", tmp_path, "--base_lr", 1e-11, "--eta_min", 1e-12)
    assert script("s2", "--max_epoch", 1, *options) == 0
    r = report(tmp_path)
    assert r["step"] == "S2" and r["bits"]["activations"] == 8
    first, second = values(s1), values(tmp_path)
    assert set(first) == set(second)
    for name in first:
        if name.endswith(("/W", "/b", "/SP", "/gamma", "/beta")):
            np.testing.assert_allclose(second[name], first[name], atol=1e-6, err_msg=name)
    assert second["global_step"] == 2 and second["learning_rate"] < 1e-10
    out, err = capfd.readouterr()
    assert "not found" not in out + err


def test_eval_gives_the_report_s_top_1(s1, tmp_path, capsys):
    options = ("--eval", "--load", s1, "--log", tmp_path)
    assert script("s1", *options) == 0
    result, trained = read_json(str(tmp_path / "eval.json")), report(s1)
    assert (result["top1"], result["top5"]) == (
        pytest.approx(trained["top1"]), pytest.approx(trained["top5"])
    )  # fmt: skip


@pytest.mark.parametrize("step, options, difference", [
    ("s1", ("--variant", "released"), "variant is 'paper' there and 'released' now (--variant)"),
    ("s1", ("--bitw", 2), "bits.weights is 8 there and 2 now (--bitw)"),
    ("s2", (), "bits.activations is 32 there and 8 now (--bita)"),
])  # fmt: skip
def test_eval_refuses_another_network_than_the_run_trained(
    s1, tmp_path, capsys, step, options, difference
):
    options += ("--eval", "--load", checkpoints.last_complete(str(s1)), "--log", tmp_path / "eval")
    assert script(step, *options) == 2
    error = capsys.readouterr().err
    assert f"`--load`: the options describe another network than {(s1 / 'run.json')}" in error
    assert f"run.json: {difference}; give" in error and "`python -m sspq eval`" in error
    assert error.count("\n") == 1 and not (tmp_path / "eval").exists()


@pytest.mark.slow
def test_eval_takes_the_options_word_where_no_run_tells_the_network(s1, tmp_path):
    (tmp_path / "bare").mkdir()
    for ending in (".index", ".data-00000-of-00001"):
        shutil.copy(checkpoints.last_complete(str(s1)) + ending, str(tmp_path / "bare"))
    np.savez(str(tmp_path / "weights.npz"), **values(s1))
    for load in (tmp_path / "bare", tmp_path / "weights.npz"):
        assert script("s1", "--eval", "--load", load, "--bitw", 2, "--log", tmp_path) == 0
        assert read_json(str(tmp_path / "eval.json"))["bits"]["weights"] == 2


def test_a_fresh_run_leaves_checkpoints_alone_that_no_run_json_explains(s1, tmp_path, capsys):
    for name in os.listdir(str(s1)):
        if name.startswith("model-"):
            shutil.copy(str(s1 / name), str(tmp_path))
    before = sorted(os.listdir(str(tmp_path)))
    for options in ((), ("--resume",)):
        assert script("s1", "--max_epoch", 4, "--log", tmp_path, *options) == 2
        assert "but no run.json with the settings of their run" in capsys.readouterr().err
    assert sorted(os.listdir(str(tmp_path))) == sorted([".lock"] + before)


def test_s2_refuses_a_checkpoint_of_another_graph(tmp_path, capsys):
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.get_variable("conv1/W", [3, 3, 3, 64])
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(sess, str(tmp_path / "other"))
    assert script("s2", "--load", prefix, "--log", tmp_path / "s2") == 2
    message = capsys.readouterr().err
    assert "belongs to another graph: it lacks" in message
    assert "conv1/W is [3, 3, 3, 64], expected [3, 3, 3, 16]" in message


@pytest.mark.parametrize(
    "step, options, message",
    [
        ("s2", (), "`--load` is missing: give S1's checkpoint or log folder"),
        ("s1", ("--eval",), "`--load` is missing: give a checkpoint to evaluate"),
        ("s2", ("--load", "nowhere"), "no folder, checkpoint or file nowhere"),
        ("s1", ("--batch", "65"), "`batch` must be"),
        ("s1", ("--batch", "0"), "`--batch` must be at least 1, got 0"),
        ("s1", ("--base_lr", "-1"), "`--base_lr` must be above 0, got -1.0"),
        ("s1", ("--base_lr", "nan"), "`--base_lr` must be above 0, got nan"),
        ("s1", ("--gpu", "7"), "`--gpu`: TensorFlow sees none of the GPUs 7"),
        ("s1", ("--eval", "--load", "README.md", "--log", "README.md"), "README.md"),
        ("s1", ("--bitw", "0"), "`bitW` must be an int from 1 to 32, got 0"),
        ("s1", ("--eta_min", "0"), "`eta_min` must be in (0, 1), got 0.0"),
        ("s1", ("--data-format", "NCHW"), "`--data-format NCHW` needs a GPU"),
    ],
)
def test_wrong_options_give_one_line_that_names_them(step, options, message, tmp_path, capsys):
    assert script(step, "--log", tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_with_several_towers_a_resumed_run_sees_the_images_of_the_uninterrupted_one():
    data = ImagesInput(ImagesSettings("digits"), Processes())
    whole, resumed = [data.training(SMALL_IMAGES, 12, epoch, 4).ds for epoch in (1, 2)]
    assert len(whole) == 4 * data.steps(12) < data.steps(3)
    list(whole)
    for (first, _), (second, _) in zip(whole, resumed):
        np.testing.assert_array_equal(first, second)
