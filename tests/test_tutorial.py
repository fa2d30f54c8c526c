"""The tutorial notebook: every cell runs, and what its prose promises comes out."""

import json
import os
import re

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
NOTEBOOK = os.path.join(ROOT, "examples", "tutorial.ipynb")


def text_of(cells):
    """What the cells printed, and their results as text."""
    outputs = [o for cell in cells for o in cell.get("outputs", [])]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join("".join(t) for t in texts)


def assert_keeps_its_promises(text):
    s2 = float(re.search(r"S2: W8 A8, top-1 ([\d.]+) %", text).group(1))
    assert s2 > 90
    packed, float32 = map(int, re.search(r"(\d+) bytes packed; (\d+) bytes", text).groups())
    assert packed < float32 / 3
    levels = re.search(r"\((\d+), (\d+), [\d.]+\)", text)
    assert int(levels.group(2)) <= 256 < int(levels.group(1))
    top1 = {form: float(value) for form, value in re.findall(r"(\w+) +top-1 ([\d.]+) %", text)}
    assert top1["checkpoint"] == top1["packed"] == s2
    assert abs(top1["ONNX"] - s2) < 1


def test_the_notebook_that_is_kept_was_run_as_a_whole():
    with open(NOTEBOOK) as f:
        content = f.read()
    cells = [c for c in json.loads(content)["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    assert not any(o["output_type"] == "error" for c in cells for o in c["outputs"])
    assert_keeps_its_promises(text_of(cells))
    assert not re.search(r"/(tmp|home|root)/", content) and len(content) < 400_000


@pytest.mark.slow
def test_every_cell_runs_and_the_prose_keeps_its_promises(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", ROOT)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert_keeps_its_promises(text_of(notebook.cells))
    assert os.listdir(tmp_path) == []
