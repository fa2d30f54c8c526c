"""The figures show what they are given, and their labels can be read."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from sspq.analysis import results
from sspq.analysis.results import Result
from sspq.commands.main import main
from sspq.figures import accuracy as figures
from sspq.figures import canvas, weights
from sspq.files import write_json
from tests.export.models import one_nan, save, small
from tests.figures.test_chain import STEPS


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, still open."""
    kept = []

    def keep(figure, path, dpi=0):
        figure.canvas.draw()
        kept.append(figure)
        return path

    for module in (figures, weights):
        monkeypatch.setattr(module, "save", keep)
    yield kept
    canvas.pyplot().close("all")


def crowd(count):
    """As many results of runs at nearly the same place."""
    return [
        Result(f"run {i} of a crowd", results.OTHER_DATA, 90 + i / 10, 0.2, 2.65, (89, 92))
        for i in range(count)
    ]


def overlap(boxes):
    return [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("own", [0, 1, 12])
def test_no_label_covers_another_a_point_or_the_frame(own, drawn):
    rows = results.published() + crowd(own)
    figures.draw_accuracy(rows, "")
    axes = drawn[0].axes[0]
    assert sorted(t.get_text() for t in axes.texts) == sorted(r.name for r in rows)
    boxes = [Text.get_window_extent(t) for t in axes.texts]  # without the lines
    assert not overlap(boxes)
    points = axes.transData.transform([(r.mb, r.top1) for r in rows])
    assert not any(b.contains(x, y) for b in boxes for x, y in points)
    frame = axes.get_window_extent()
    assert all(frame.contains(*b.min) and frame.contains(*b.max) for b in boxes)


def test_bars_go_up_by_density_and_tell_kinds_apart_without_colour(drawn):
    rows = results.published() + crowd(1)
    figures.draw_density(rows, "")
    axes = drawn[0].axes[0]
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names == [r.name for r in sorted(rows, key=lambda r: r.density)]
    hatches = {c.get_label(): c.patches[0].get_hatch() for c in axes.containers}
    assert len(set(hatches.values())) == len(hatches) == 3
    labels = axes.get_yticklabels() + axes.texts
    assert not overlap([t.get_window_extent() for t in labels])


def test_a_crowd_without_room_is_told(drawn):
    with pytest.raises(ValueError, match="no room for the label 'run .* of a crowd'"):
        figures.draw_accuracy(crowd(300), "")


def test_shifts_far_out_are_counted_and_do_not_stretch_the_axes(drawn):
    shifts = np.random.RandomState(0).uniform(-1, 1, (2, 300))
    shifts[0, 7] = 50
    weights.draw_shifts({"a/shift_q": shifts, "b/shift_q": shifts[:, :5]}, "")
    a, b = drawn[0].axes
    assert a.get_title() == "a/shift_q\n300 channels, 1 beyond" and "beyond" not in b.get_title()
    assert a.get_xlim()[1] < 2 and a.get_ylim()[0] > a.get_ylim()[1]
    np.testing.assert_allclose(b.collections[0].get_offsets(), shifts[:, :5].T)


@pytest.mark.parametrize(
    "bits, values, share",
    [(1, [-0.3, -0.3, 0.3, -0.3], [75, 25]), (2, [-1, 1 / 3, 1 / 3, 1], [25, 0, 50, 25])],
)
def test_levels_are_counted(bits, values, share, drawn):
    weights.draw_levels({"a/W": np.array(values, np.float32)}, bits, "")
    above, below = drawn[0].axes[:2]
    np.testing.assert_allclose([bar.get_height() for bar in above.patches], share)
    np.testing.assert_allclose(below.collections[0].get_array().ravel(), share)


def test_the_command_draws_reports_and_a_checkpoint(tmp_path, capsys):
    save(tmp_path, small(bitw=4))
    write_json(str(tmp_path / "report.json"), STEPS["s1"])
    out = tmp_path / "figures"
    folder = str(tmp_path)
    assert main(["figures", "--reports", folder, "--checkpoint", folder, "-o", str(out)]) == 0
    names = {"top1-size.png", "density.png", "shifts.png", "levels-4bit.png"}
    assert {p.name for p in out.iterdir()} == names
    assert set(capsys.readouterr().out.split()) == {str(out / name) for name in names}
    assert main(["figures", "-o", str(out)]) == 2
    assert "`--reports` or `--checkpoint` is missing" in capsys.readouterr().err


def test_a_network_that_has_diverged_is_not_drawn(tmp_path, capsys):
    save(tmp_path, small(bitw=4), one_nan("conv2blk1/shift_q/SP/SP"))
    assert main(["figures", "--checkpoint", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "conv2blk1/shift_q/SP/SP, 1 of 32" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, why",
    [
        (("--reports", "--model", "sspq34"), "`--model`: only for `--checkpoint`"),
        (
            ("--reports", "--bitw", "4", "--num-classes", "10"),
            "`--bitw`, `--num-classes`: only for",
        ),
        (("--checkpoint", "none", "--published", "own.csv"), "`--published` is for `--reports`"),
    ],
)
def test_options_of_what_is_not_drawn_are_refused(options, why, tmp_path, capsys):
    out = tmp_path / "figures"
    assert main(["figures", *options, "-o", str(out)]) == 2
    assert why in capsys.readouterr().err and not out.exists()
