"""The notebooks run from top to bottom, offline."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def pictures(notebook):
    return [out for cell in notebook.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_the_figures_that_are_stored_in_it(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, 4)
    stored = pictures(notebook)
    done = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert len(pictures(done)) == len(stored) >= 2
    said = "".join(out["text"] for cell in done.cells for out in cell.get("outputs", ()) if out.get("name") == "stdout")
    assert "0 asked, 64 from the store" in said


def test_stored_notebooks_are_small_and_name_no_place_of_their_maker():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 400_000, path
        assert str(Path.home()) + "/" not in text, path
        assert "/tmp/" not in text, path
