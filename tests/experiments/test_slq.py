"""The script that quantizes a network stage by stage, on a few images."""

import gc
import json
import os

import numpy as np
import pytest

from sspq import checkpoints
from sspq.checkpoints.source import open_checkpoint
from sspq.compat import tf
from sspq.experiments.inputs import memory
from sspq.export.packed.pack import pack, unpack
from sspq.figures.slq import StagesError, is_slq, report_slq
from sspq.files import read_json
from sspq.runs import history
from sspq.runs.schema import ResultsError
from sspq.runs.stages import read_stages
from sspq.slq import SLQ
from sspq.training.results import variables_of
from sspq.training.slq.reports import StageReports
from tests.data import ilsvrc_tree as ilsvrc
from tests.experiments.killing import Killed, kill_when_saved
from tests.experiments.runs import assert_same, report, values
from tests.experiments.scripts import example
from tests.experiments.slq_script import read_options, script
from tests.tiny import tiny_digits

LAYERS = ["conv1/W", "conv2/W", "ip1/W", "ip2/W"]
THREE_BITS = ("--bits", 3, "--stage-epochs", 2, "--base_lr", 0.003)


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory.datasets, "load", lambda spec, download=False: tiny_digits())
        yield


@pytest.fixture(scope="module")
def float32(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "float32"
    assert script("--method", "float32", "--stage-epochs", 6, "--log", folder) == 0
    return folder


@pytest.fixture(scope="module")
def quantized(float32):
    """Both stages at 3 bits, of two epochs each."""
    folder = float32.parent / "slq"
    assert script("--load", float32, "--log", folder, *THREE_BITS) == 0
    return folder


def test_float32_training_is_told_apart_from_quantization(float32):
    r = report(float32)
    assert r["method"] == "float32" and "slq" not in r and r["epochs"] == 6
    assert r["quantized_bytes"] == r["float32_bytes"] == 4 * 657080
    assert not any("/slq/" in name for name in values(float32))


def test_quantization_begins_with_the_loaded_network_and_no_momentum(float32, quantized):
    first = report(quantized, "stage1")["accuracy"]["before_freezing"]
    expected = report(float32)
    assert (first["top1"], first["top5"]) == (expected["top1"], expected["top5"])
    assert report(quantized)["float32"] == first


def test_every_stage_leaves_its_report(quantized):
    stages = read_stages(str(quantized))
    assert [s["epochs"] for s in stages] == [[1, 2], [3, 4]]
    for stage, count in zip(stages, SLQ[3].counts):
        assert list(stage["layers"]) == LAYERS
        for name, layer in stage["layers"].items():
            assert len(layer["frozen_centres"]) == count and len(layer["codebook"]) == 5, name
            assert sum(layer["members"]) == sum(layer["histogram"]["counts"]) == layer["weights"]
            frozen = sum(layer["members"][k] for k in layer["frozen_centres"])
            assert layer["frozen"] == frozen and layer["frozen_share"] == frozen / layer["weights"]
        assert set(stage["accuracy"]) == {"before_freezing", "after_freezing", "after_training"}
    assert 0 < stages[0]["frozen_share"] < stages[1]["frozen_share"] == 1


def test_accuracy_right_after_freezing_is_that_of_the_frozen_weights(quantized):
    first, second = read_stages(str(quantized))
    # Nothing happens between one stage's end and the next one's beginning.
    assert first["accuracy"]["after_training"] == second["accuracy"]["before_freezing"]
    rows = history.read(str(quantized))
    for stage in (first, second):
        row = rows[stage["epochs"][1] - 1]
        trained = stage["accuracy"]["after_training"]
        assert (row["top1"], row["test_cross_entropy"]) == (
            trained["top1"],
            trained["cross_entropy"],
        )
        frozen = stage["accuracy"]["after_freezing"]["cross_entropy"]
        assert frozen != stage["accuracy"]["before_freezing"]["cross_entropy"]


def test_codebooks_and_shares_are_those_of_the_checkpoint(quantized):
    held, last = values(quantized), report(quantized, "stage2")
    for name in LAYERS:
        layer = last["layers"][name]
        assert layer["codebook"] == held[name + "/slq/centres"].tolist()
        centres = held[name + "/slq/centres"].astype(np.float32)
        np.testing.assert_array_equal(held[name], centres[held[name + "/slq/index"]])


def test_bytes_are_counted_with_codebooks_and_the_packed_file_has_them(quantized):
    r = report(quantized)
    kernels = {n: v.size for n, v in values(quantized).items() if n in LAYERS}
    rest = 4 * (657080 - sum(kernels.values()))
    expected = rest + sum(-(-3 * n // 8) + 4 * 5 for n in kernels.values())
    assert r["quantized_bytes"] == expected == report(quantized, "stage2")["bytes"]
    assert report(quantized, "stage1")["bytes"] == r["float32_bytes"]  # nothing is finished
    packed = pack(open_checkpoint(str(quantized)))
    assert abs(packed.nbytes - expected) <= 0.01 * expected
    unpacked = unpack(packed).values
    for name in LAYERS:
        assert unpacked[name].tobytes() == values(quantized)[name].tobytes()


def test_evaluation_gives_the_report_s_accuracy_without_clustering(
    quantized, tmp_path, monkeypatch
):
    monkeypatch.setattr("sspq.slq.next_stage", lambda *_: pytest.fail("it clusters again"))
    assert script("--eval", "--load", quantized, "--log", tmp_path) == 0
    found, expected = read_json(str(tmp_path / "eval.json")), report(quantized)
    assert (found["top1"], found["top5"]) == (expected["top1"], expected["top5"])


def kill_between(patch, epoch):
    """After a stage has frozen its weights, ahead of its first step."""
    after = StageReports.after

    def write_and_die(self, stage, states):
        after(self, stage, states)
        if self.epoch_num == epoch:
            raise Killed()

    patch.setattr(StageReports, "after", write_and_die)


@pytest.mark.parametrize(
    "kill, epoch", [(kill_when_saved, 2), (kill_when_saved, 3), (kill_between, 3)]
)
def test_a_killed_run_goes_on_to_the_same_bits_and_reports(
    float32, quantized, tmp_path, kill, epoch
):
    options = ("--load", float32, "--log", tmp_path, "--resume", *THREE_BITS)
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, epoch)
        with pytest.raises(Killed):
            script(*options)
    gc.collect()  # drops the lock that a really killed process would have dropped
    assert script(*options) == 0
    assert_same(values(tmp_path), values(quantized))
    assert read_stages(str(tmp_path)) == read_stages(str(quantized))


def test_mlq_leaves_three_values_a_layer_group_by_group(float32, tmp_path):
    options = ("--method", "mlq", "--groups", "conv.*/W", "ip.*/W", "--stage-epochs", 1, 1, 2, 1)
    assert script("--load", float32, "--log", tmp_path, *options) == 0
    held, stages = values(tmp_path), read_stages(str(tmp_path))
    assert [s["epochs"] for s in stages] == [[1, 1], [2, 2], [3, 4], [5, 5]]
    assert all(len(np.unique(held[name])) == 3 for name in LAYERS)
    shares = [[s["layers"][n]["frozen_share"] for n in LAYERS] for s in stages]
    assert shares[1] == [1, 1, 0, 0] and shares[3] == [1, 1, 1, 1]
    assert 0 < shares[0][0] < 1 and shares[0][3] == 0 and 0 < shares[2][3] < 1
    assert stages[0]["bytes"] > stages[1]["bytes"] == stages[2]["bytes"] > stages[3]["bytes"]
    r = report(tmp_path)
    assert r["slq"]["weights"] == 2 and r["slq"]["groups"] == ["conv.*/W", "ip.*/W"]


@pytest.mark.usefixtures("one_block_a_group")
def test_a_resnet_on_an_ilsvrc_folder_starts_from_an_npz_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tree = ilsvrc.make(tmp_path / "tree")
    with tf.Graph().as_default(), tf.Session() as sess:
        options = read_options("--model", "resnet18", "--image-size", "32")
        variables_of(example("slq").model(options, 3))
        sess.run(tf.global_variables_initializer())
        start = sess.run({v.op.name: v for v in tf.global_variables()})
    np.savez(str(tmp_path / "start.npz"), **start)
    run = tmp_path / "run"
    given = ("--data", tree, "--image-size", 32, "--bits", 2, "--partition", "loss")
    given += ("--stage-epochs", 1, "--layers", "(.*/)?conv[12]/W", "--val-every", 5)
    assert script("--load", tmp_path / "start.npz", "--log", run, *given, model="resnet18") == 0
    held, r = values(run), report(run)
    kernels = [n for n in held if n.endswith(("conv1/W", "conv2/W"))]
    assert len(kernels) == 8 == len(r["slq"]["layers"]) and r["slq"]["partition"] == "loss"
    for name in kernels:
        assert len(np.unique(held[name])) <= 3
    assert len(np.unique(held["conv0/W"])) > 3
    # An epoch that ends a stage is measured, whether it is validated or not.
    assert read_stages(str(run))[0]["accuracy"]["after_training"]["top5"] == 100
    assert history.read(str(run))[0]["top1"] is None


def test_the_report_has_a_table_and_a_picture_of_every_layer(quantized, tmp_path):
    (tmp_path / "slq").symlink_to(quantized)
    text = report_slq(str(tmp_path)).splitlines()
    assert len(text) == 2 + 1 + 2 and f"{report(quantized)['top1']:.2f}" in text[-1]
    assert sorted(os.listdir(str(tmp_path / "layers"))) == [
        "conv1-W.png", "conv2-W.png", "ip1-W.png", "ip2-W.png"
    ]  # fmt: skip
    for picture in ("stages.png", "layers/ip1-W.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert report(tmp_path) == report(quantized)


def test_an_unfinished_run_has_no_report(quantized, float32, tmp_path):
    assert is_slq(str(quantized)) and not is_slq(str(float32))
    (tmp_path / "slq" / "stage1").mkdir(parents=True)
    (tmp_path / "slq" / "stage1" / "report.json").write_text(json.dumps({}))
    with pytest.raises(StagesError, match="slq: the run has not finished"):
        report_slq(str(tmp_path))


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("report.json", {"float32": 3}, r"report.json: `float32.top1` is missing"),
        ("stage1/report.json", {"bytes": "many"}, r"stage1.report.json: `bytes` must be a finite"),
        ("stage2/report.json", {"accuracy": {}}, r"stage2.*: `accuracy.before_freezing.top1` is"),
        ("stage2/report.json", {"layers": {"conv1/W": []}}, r"layer conv1/W: `weights` is missing"),
    ],
)
def test_a_damaged_report_is_named(quantized, tmp_path, name, change, message):
    for file in ("report.json", "stage1/report.json", "stage2/report.json"):
        held = json.loads((quantized / file).read_text())
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(json.dumps(dict(held, **(change if file == name else {}))))
    with pytest.raises(ResultsError, match=message):
        report_slq(str(tmp_path))
    assert not (tmp_path / "layers").exists()


def test_an_implementation_that_is_not_there_is_told_ahead_of_training(
    float32, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SSPQ_SLQ", "cuda")
    assert script(*THREE_BITS, "--load", float32, "--log", tmp_path) == 2
    error = capsys.readouterr().err
    assert "SSPQ_SLQ=cuda: must be one of native, numpy" in error and len(error.splitlines()) == 1
    assert checkpoints.last_complete(str(tmp_path)) is None


def test_resuming_from_another_checkpoint_is_refused(float32, quantized, tmp_path, capsys):
    def resume(load):
        return script("--load", load, "--log", quantized, "--resume", *THREE_BITS)

    assert resume(checkpoints.last_complete(str(float32))) == 0  # the same by another name
    parameters = {k: v + 1 if k.endswith("/b") else v for k, v in values(float32).items()}
    np.savez(str(tmp_path / "other.npz"), **parameters)
    capsys.readouterr()
    assert resume(tmp_path / "other.npz") == 2
    fingerprint = report(quantized)["load_fingerprint"]
    assert f"load_fingerprint is {fingerprint!r} there and" in capsys.readouterr().err


def test_a_diverging_run_says_so(tmp_path, capsys):
    options = ("--method", "float32", "--stage-epochs", 2, "--base_lr", 1e30, "--log", tmp_path)
    assert script(*options) == 2
    assert "try a lower --base_lr" in capsys.readouterr().err
