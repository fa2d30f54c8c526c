"""``python -m sspq summary``."""

import json

from tests.commands.calls import error, output


def test_a_summary_of_a_checkpoint_checks_that_it_fits(folder, capsys):
    text = output(capsys, "summary", "--checkpoint", folder, "--top1", "90")
    assert "conv3blk1/shift_q" in text and "density" in text
    assert json.loads(output(capsys, "summary", "--checkpoint", folder, "--json"))["top1"] is None
    wrong = error(capsys, "summary", "--checkpoint", folder, "--num-classes", 11)
    assert "belongs to another graph" in wrong


def test_a_summary_by_name_tells_the_published_size(capsys):
    text = output(capsys, "summary", "--model", "lspq50", "--bitw", 1)
    assert "published       3.55 MB" in text and "3.567 MiB" in text
    markdown = output(capsys, "summary", "--model", "sspq34", "--markdown")
    assert markdown.startswith("| layer")
    assert output(capsys, "summary", "--model", "sspq34", "--csv").startswith("layer,kind,")
