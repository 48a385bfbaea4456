"""A task on a small set in Market-1501's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eval.reid.data import Choice
from eval.reid.run import ReidTask
from eval.reid.scoring import Protocol, Way
from tests.eval.tiny import tiny_checkpoint
from tests.fewshot_seg.reid.people import PEOPLE, make_people

__all__ = ["PEOPLE", "tiny_task"]


def tiny_task(folder: Path, choice: dict[str, Any] | None = None, **changes: Any) -> ReidTask:
    """The people of FOLDER/people, weights in FOLDER, to be written to FOLDER/run."""
    weights = folder / "tiny.safetensors"
    if not weights.exists():
        weights.write_bytes(tiny_checkpoint())
        make_people(folder / "people")
    chosen = Choice(**{"dataset": "market", "root": folder / "people", "allow_missing": True, **(choice or {})})
    values: dict[str, Any] = {"out": folder / "run", "ways": (Way(),), "protocol": Protocol(), "samples": 50}
    return ReidTask(chosen, **{**values, "weights": (str(weights),), "device": "cpu", "workers": 2, **changes})
