"""The chain's report, table and picture."""

import json

import cv2
import numpy as np
import pytest

from sspq.figures import chain
from sspq.files import write_json
from sspq.runs import history
from sspq.runs.schema import ResultsError


def report(step, bits, top1, size):
    return {
        "model": "SSPQ34",
        "variant": "paper",
        "step": step,
        "bits": dict(zip(("weights", "activations", "gradients"), bits)),
        "dataset": {"name": "digits", "train_images": 10, "test_images": 4, "classes": 10},
        "top1": top1,
        "top5": 100.0,
        "trainable_parameters": 1000,
        "float32_bytes": 4000,
        "quantized_bytes": size,
        "information_density": 1.5 if top1 else None,
        "epochs": 2,
        "seconds": 3.5,
        "seed": 0,
        "versions": {"sspq": "0"},
    }


STEPS = {
    "float32": report("S1", (32, 32, 32), 98.0, 4000),
    "s1": report("S1", (8, 32, 32), 97.5, 1200),
    "s2": report("S2", (8, 8, 32), 97.25, 1200),
}


def make(folder, names=STEPS):
    for name in names:
        path = folder / name
        path.mkdir()
        write_json(str(path / "report.json"), STEPS[name])
        rows = [dict.fromkeys(history.COLUMNS, 1.0) for _ in range(2)]
        for epoch, row in enumerate(rows, 1):
            row.update(epoch=epoch, top1=90.0 + epoch)
        history.write(str(path), rows)
    return str(folder)


def test_the_table_goes_from_float32_to_s2(tmp_path):
    lines = chain.report_chain(make(tmp_path)).splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        ["float32", "32", "32", "98.00"],
        ["S1", "8", "32", "97.50"],
        ["S2", "8", "8", "97.25"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_without_a_float32_run_its_row_gives_the_size_and_says_so(tmp_path):
    table = chain.report_chain(make(tmp_path, ("s1", "s2")))
    row = table.splitlines()[1]
    assert row.split()[:5] == ["float32", "32", "32", "not", "run"] and "4000" in row


def test_the_root_report_holds_the_last_step_s_figures_and_every_step(tmp_path):
    chain.report_chain(make(tmp_path))
    got = json.loads((tmp_path / "report.json").read_text())
    assert got["top1"] == 97.25 and got["model"] == "SSPQ34" and got["seconds"] == 10.5
    assert got["steps"] == {"float32": STEPS["float32"], "S1": STEPS["s1"], "S2": STEPS["s2"]}


def test_the_picture_shows_curves(tmp_path):
    chain.report_chain(make(tmp_path))
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape[0] > 300 and picture.shape[1] > 800
    # Blue for S1 and vermilion for S2, as BGR.
    for color in ((178, 114, 0), (0, 94, 213)):
        assert (np.abs(picture.astype(int) - color).max(axis=2) < 12).sum() > 50


def test_an_unfinished_chain_is_named(tmp_path):
    with pytest.raises(chain.ChainError, match="s2: step S2 has not finished"):
        chain.report_chain(make(tmp_path, ("s1",)))


def test_a_step_without_a_hit_has_no_density(tmp_path):
    folder = make(tmp_path)
    write_json(str(tmp_path / "s1" / "report.json"), report("S1", (8, 32, 32), 0.0, 1200))
    assert " - " in chain.report_chain(folder).splitlines()[2]


def test_a_chain_of_made_up_images_has_no_accuracy_and_no_curve_of_it(tmp_path, recwarn):
    folder = make(tmp_path)
    for name, step in STEPS.items():
        path = tmp_path / name
        write_json(
            str(path / "report.json"), dict(step, top1=None, top5=None, information_density=None)
        )
        rows = history.read(str(path))
        history.write(str(path), [dict(row, top1=None, top5=None) for row in rows])
    for line in chain.report_chain(folder).splitlines()[1:]:
        assert line.split()[3:5] == ["-", "-"] and line.split()[7] == "-"
    assert json.loads((tmp_path / "report.json").read_text())["top1"] is None
    assert (tmp_path / "curves.png").exists()
    assert not [w for w in recwarn if "legend" in str(w.message)]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"bits": {}}, "`bits.weights` is missing"),
        ({"bits": 8}, "`bits.weights` is missing"),
        ({"top1": "x"}, "`top1` must be a finite number or null, got 'x'"),
        ({"top5": True}, "`top5` must be a finite number or null, got True"),
        ({"seconds": None}, "`seconds` must be a finite number, got None"),
        ({"model": 1}, "`model` must be text, got 1"),
        ({"versions": []}, r"`versions` must be an object, got \[\]"),
    ],
)
def test_a_damaged_report_is_named_with_its_field(changes, message, tmp_path):
    folder = make(tmp_path)
    write_json(str(tmp_path / "s1" / "report.json"), dict(STEPS["s1"], **changes))
    with pytest.raises(ResultsError, match="s1/report.json: " + message):
        chain.report_chain(folder)


@pytest.mark.parametrize("text", ["{}", "[]", "1"])
def test_a_report_that_is_none_is_named(text, tmp_path):
    folder = make(tmp_path)
    (tmp_path / "s1" / "report.json").write_text(text)
    with pytest.raises(ResultsError, match="s1/report.json: `model` is missing"):
        chain.report_chain(folder)


def test_a_value_that_is_not_finite_is_refused(tmp_path):
    folder = make(tmp_path)
    (tmp_path / "s2" / "report.json").write_text(json.dumps(dict(STEPS["s2"], top1=float("nan"))))
    with pytest.raises(ResultsError, match="s2/report.json: `top1` must be a finite.*got nan"):
        chain.report_chain(folder)


@pytest.mark.parametrize(
    "text, message",
    [
        ("[{}]", "history.json, entry 1: `epoch` is missing"),
        ("[1]", "history.json, entry 1: `epoch` is missing"),
        ('[{"epoch": 1, "train_cost": "x"}]', "`train_cost` must be a finite number or null"),
        ("{}", "history.json must be a list of epochs, got {}"),
    ],
)
def test_a_damaged_history_is_named(text, message, tmp_path):
    folder = make(tmp_path)
    (tmp_path / "s2" / "history.json").write_text(text)
    with pytest.raises(ValueError, match="s2/.*" + message):
        chain.report_chain(folder)
