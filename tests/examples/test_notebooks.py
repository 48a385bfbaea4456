"""The notebooks of examples/ run, and what they show is what is stored in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
NAMES = ("segment", "search", "train")


def shown(cell: Any) -> list[str]:
    """The kinds of a cell's outputs; what goes to stderr is not of the notebook."""
    kinds = [sorted(one.get("data", {one.get("name"): ""})) for one in cell.outputs if one.get("name") != "stderr"]
    return [kind for each in kinds for kind in each]


def test_these_are_all() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(NAMES)


def test_the_notebooks_run_and_show_what_they_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the notebooks work in folders there
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    stored = [cell for name in NAMES for cell in nbformat.read(EXAMPLES / f"{name}.ipynb", 4).cells]
    stored = [cell for cell in stored if cell.cell_type == "code"]
    # In one kernel, which imports torch once.
    cells = [nbformat.v4.new_code_cell(cell.source) for cell in stored]
    together = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(together, timeout=300, kernel_name="python3").execute()
    for cell, again in zip(stored, together.cells, strict=True):
        assert shown(again) == shown(cell), cell.source
    pictures = [cell for cell in stored if "text/html" in shown(cell)]
    assert len(pictures) >= 5
