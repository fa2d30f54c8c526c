"""Published and measured results, as figures show them."""

import json

import pytest

from sspq import models
from sspq.analysis import results
from sspq.files import write_json
from sspq.runs.schema import ResultsError
from tests.figures.test_chain import STEPS


def test_published_densities_are_those_of_top1_and_size():
    for r in results.published():
        computed = results.information_density(r.top1, r.mb * results.MIB)
        # What was read off plots is as exact as the eye.
        assert abs(computed - r.density) < (0.035 if r.kind == results.READ_OFF else 0.001), r.name


def test_published_rows_that_networks_name_are_stated_and_not_read_off_plots():
    rows = {r.name: r for r in results.published()}
    named = [rows[e.published.row] for e in models.MODELS.values() if e.published]
    assert len(named) == 5 and {r.kind for r in named} == {results.PUBLISHED}
    assert sum(r.kind == results.READ_OFF for r in rows.values()) == 5


def write(folder, name, **changes):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(str(path), dict(STEPS["s1"], **changes))


def test_runs_with_other_seeds_are_one_result_and_a_chain_stands_for_its_steps(tmp_path):
    write(tmp_path, "a/s1/report.json", seed=0, top1=90.0)
    write(tmp_path, "b/s1/report.json", seed=1, top1=96.0)
    write(tmp_path, "c/report.json", steps={"S1": dict(STEPS["s1"], top1=90.0)})
    reports = results.find_reports([str(tmp_path / "**" / "report.json"), str(tmp_path)])
    assert sorted(r["top1"] for r in reports) == [90.0, 96.0]
    [result] = results.measured(reports)
    assert result.name == "SSPQ34 S1, W8 A32, digits, mean of 2"
    assert (result.top1, result.top1_range) == (93.0, (90.0, 96.0))
    assert result.kind == results.OTHER_DATA and result.mb == 1200 / 2**20


def test_runs_with_other_settings_are_results_of_their_own():
    found = results.measured([STEPS["s1"], dict(STEPS["s1"], epochs=3)])
    assert [r.name for r in found] == ["SSPQ34 S1, W8 A32, digits"] * 2


def test_only_all_of_imagenet_s_validation_images_count_as_imagenet(tmp_path):
    whole = {"name": "ILSVRC folder", "classes": 1000, "test_images": 50000}
    for dataset, kind in (
        (whole, results.MEASURED),
        (dict(whole, test_images=49999), results.OTHER_DATA),
        (dict(whole, name="digits"), results.OTHER_DATA),
    ):
        [result] = results.measured([dict(STEPS["s1"], dataset=dataset)])
        assert result.kind == kind


def test_a_run_without_a_hit_has_no_density_and_no_place():
    assert results.measured([dict(STEPS["s1"], top1=0.0)]) == []


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ResultsError, match="no file is found by .*x"):
        results.find_reports([str(tmp_path / "x")])
    for name, value in (
        ("a", {"steps": {}}),
        ("b", [1]),
        ("c", {"model": "x"}),
        ("d", {"steps": [1]}),
    ):
        path = tmp_path / name
        path.write_text(json.dumps(value))
        with pytest.raises(ResultsError, match=f"{name} holds no report of a run"):
            results.find_reports([str(path)])
    rows = tmp_path / "rows.csv"
    with pytest.raises(ResultsError, match="there is no file .*rows.csv"):
        results.published(str(rows))
    rows.write_text("model,top1\n")
    with pytest.raises(ResultsError, match="rows.csv has the columns"):
        results.published(str(rows))
    rows.write_text(",".join(results.COLUMNS) + "\na,1,2,x,no,here\n")
    with pytest.raises(ResultsError, match="rows.csv, line 2"):
        results.published(str(rows))


def test_what_is_found_beside_reports_of_runs_is_passed_over(tmp_path):
    write(tmp_path, "s1/report.json", top1=90.0)
    for name in ("slq/report.json", "slq/stage1/report.json", "imagenet-s1-eval/report.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"model": "LeNet", "top1": 99.0}))
    [report] = results.find_reports([str(tmp_path / "**" / "report.json")])
    assert report["top1"] == 90.0
    with pytest.raises(ResultsError, match="slq holds no report of a run"):
        results.find_reports([str(tmp_path / "slq")])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"bits": {}}, "`bits.weights` is missing"),
        ({"dataset": {}}, "`dataset.name` is missing"),
        ({"top1": "x"}, "`top1` must be a finite number or null, got 'x'"),
        ({"quantized_bytes": None}, "`quantized_bytes` must be a finite number, got None"),
    ],
)
def test_a_damaged_report_is_named_with_its_field(changes, message, tmp_path):
    write(tmp_path, "s1/report.json", **changes)
    with pytest.raises(ResultsError, match="s1/report.json: " + message):
        results.find_reports([str(tmp_path)])
    chain = {"steps": {"S1": dict(STEPS["s1"], **changes)}}
    (tmp_path / "s1" / "report.json").write_text(json.dumps(chain))
    with pytest.raises(ResultsError, match="s1/report.json, step S1: " + message):
        results.find_reports([str(tmp_path)])
