"""Class folders of small pictures that a network of random weights can tell apart, and a task on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.retrieval.data import Choice
from eval.retrieval.run import RetrievalTask
from tests.eval.tiny import tiny_checkpoint

CLASSES, EACH = 6, 5


def make_folders(root: Path, classes: int = CLASSES, each: int = EACH) -> Path:
    """ROOT/CLASS/N.png: a colour of its own for each class, under much noise."""
    draws = np.random.default_rng(0)
    for number in range(1, classes + 1):
        folder = root / f"{number:02d}.kind"
        folder.mkdir(parents=True)
        colour = draws.integers(40, 216, 3)
        for picture in range(each):
            noise = draws.normal(0, 45, (40, 48, 3))
            pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{picture}.png")
    return root


def tiny_retrieval(folder: Path, choice: dict[str, Any] | None = None, **changes: Any) -> RetrievalTask:
    """All six classes of FOLDER/photos, weights in FOLDER, to be written to FOLDER/run."""
    weights = folder / "tiny.safetensors"
    if not weights.exists():
        weights.write_bytes(tiny_checkpoint())
        make_folders(folder / "photos")
    chosen = Choice(**{"dataset": "folder", "root": folder / "photos", "classes": "1-6", **(choice or {})})
    values: dict[str, Any] = {"out": folder / "run", "weights": (str(weights),), "device": "cpu", "workers": 2}
    return RetrievalTask(chosen, **{**values, "samples": 50, **changes})
