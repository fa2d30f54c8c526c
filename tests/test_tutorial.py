"""The notebook of examples/: it was executed as a whole, and what its prose promises comes out."""

import json
import os
import re

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
NOTEBOOK = os.path.join(ROOT, "examples", "tutorial.ipynb")


def number(pattern, text):
    return float(re.search(pattern, text).group(1).replace(",", ""))


def check_promises(cells):
    """``cells`` are code cells with their outputs."""
    outputs = [output for cell in cells for output in cell["outputs"]]
    text = "".join("".join(o["text"]) for o in outputs if o["output_type"] == "stream")
    assert "by half a pixel: [2. 6. 4. 0.]" in text
    hidden, found = re.search(r"hidden: \[(.*?)\]  found: \[(.*?)\]", text).groups()
    for true, learned in zip(hidden.split(), found.split()):
        assert float(learned) == pytest.approx(float(true), abs=0.02)
    s2 = number(r"S2: .*top-1 ([\d.]+) %", text)
    assert s2 > 90
    assert number(r"different values, (\d+) levels", text) <= 256
    assert number(r"off the levels by at most ([\d.]+) steps", text) < 1e-3
    assert number(r"packed ([\d,]+) bytes", text) < number(r"float32 ([\d,]+) bytes", text) / 3
    # An activation on the border of two levels may fall to either side.
    assert number(r"logits off by at most ([\d.e-]+)", text) < 0.2
    assert number(r"same class in (\d+) of 360", text) >= 358
    assert number(r"top-1 of the ONNX file ([\d.]+) %", text) == pytest.approx(s2, abs=0.6)
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 6
    assert {o["output_type"] for o in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert "WARNING" not in text


def test_the_committed_notebook_was_executed_in_order_and_shows_its_results():
    with open(NOTEBOOK) as f:
        content = f.read()
    assert len(content) < 400_000
    assert not re.search(r"/(tmp|home|root|usr|var|opt|Users)/", content)
    notebook = json.loads(content)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell["outputs"] for cell in cells)
    check_promises(cells)


@pytest.mark.slow
def test_every_cell_runs_and_nothing_is_left_behind(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    there, temporary = tmp_path / "there", tmp_path / "temporary"
    there.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("PYTHONPATH", ROOT)
    monkeypatch.setenv("TMPDIR", str(temporary))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(there)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    check_promises([cell for cell in notebook.cells if cell.cell_type == "code"])
    assert os.listdir(there) == []
    assert not list(temporary.glob("*/s1"))
