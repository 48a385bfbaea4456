"""A run that takes seconds: a network of 36,000 parameters on noise of one colour a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from train_embed.config.load import load_config
from train_embed.config.run_config import RunConfig


def make_images(root: Path, classes: int = 8, each: int = 4) -> Path:
    """ROOT/cN/N.png, 40 x 40."""
    rng = np.random.default_rng(0)
    for c in range(classes):
        folder = root / f"c{c}"
        folder.mkdir(parents=True)
        colour = rng.integers(0, 255, 3)
        for i in range(each):
            pixels = rng.normal(colour, 60, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def settings(root: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """A mapping of sections; `changes` go over it, section by section."""
    base: dict[str, dict[str, Any]] = {
        "data": {"root": str(root), "train_classes": 5},
        "model": {"backbone": "timm/test_efficientnet", "weights": "random", "dim": 16, "size": 32},
        "mining": {"enabled": True, "warmup_epochs": 0.5},
        "sampler": {"p": 4, "k": 2, "batches": 6},
        "optimizer": {"clip": 1.0},
        "run": {"epochs": 3, "device": "cpu", "workers": 0, "threads": 1, "sheet_every": 0, "recall": [1, 2]},
    }
    return {section: {**base.get(section, {}), **changes.get(section, {})} for section in {**base, **changes}}


def tiny(root: Path, **changes: dict[str, Any]) -> RunConfig:
    return load_config(settings(root, **changes))


def tensors(run: Path) -> dict[str, Tensor]:
    """Everything that a run ends with: its state and its best weights."""
    return load_file(run / "state.safetensors") | {
        f"best/{name}": value for name, value in load_file(run / "model.safetensors").items()
    }
