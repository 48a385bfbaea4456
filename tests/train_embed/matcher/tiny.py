"""Two small data sets with masks, and an embedder of 36,000 random parameters: a training takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.checkpoints import save_checkpoint
from fewshot_seg.network.embedder import build_embedder
from fewshot_seg.network.spec import EmbedderSpec
from train_embed.matcher.data import TrainingData, prepare
from train_embed.matcher.options import MatcherTraining, Source
from train_embed.matcher.store import Track

VOC_CLASSES = (1, 2, 7)  # aeroplane, bicycle: of fold 0; car: of fold 1
COCO_NAMES = {"car": 1, "couch": 2, "kite": 3, "airplane": 4}


def silent(items, total, what):  # type: ignore[no-untyped-def]
    yield from items


TRACK: Track = silent


def picture(rng: np.random.Generator, labels: list[int], side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a square of each label's own colour, and the mask."""
    image = rng.normal(128, 20, (side, side + 8, 3))
    mask = np.zeros((side, side + 8), np.uint8)
    for place, label in enumerate(labels):
        colour = np.random.default_rng(label).integers(0, 255, 3)
        top, left = rng.integers(2, 10), rng.integers(2, 8) + 26 * place
        image[top : top + 24, left : left + 20] = rng.normal(colour, 20, (24, 20, 3))
        mask[top : top + 24, left : left + 20] = label
    return image.clip(0, 255).astype(np.uint8), mask


def make_voc(root: Path, each: int = 3) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for number, labels in enumerate([[a] for a in VOC_CLASSES for _ in range(each)] + [[1, 7], [7, 2]]):
        image, mask = picture(rng, labels)
        mask[:, -2:] = 255
        Image.fromarray(image).save(root / "JPEGImages" / f"v{number:02d}.jpg")
        Image.fromarray(mask).save(root / "SegmentationClass" / f"v{number:02d}.png")
    return root


def make_coco(root: Path, each: int = 2) -> Path:
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.json").write_text(json.dumps(COCO_NAMES))
    for number, label in enumerate([label for label in COCO_NAMES.values() for _ in range(each)]):
        image, mask = picture(rng, [label])
        Image.fromarray(image).save(root / "images" / f"c{number:02d}.png")
        Image.fromarray(mask).save(root / "masks" / f"c{number:02d}.png")
    return root


def make_weights(path: Path) -> Path:
    torch.manual_seed(0)
    spec = EmbedderSpec("timm/test_efficientnet", classes=10, preprocessing=Preprocessing(size=64))
    save_checkpoint(build_embedder(spec, weights=False), path)
    return path


def options(root: Path, **changes: object) -> MatcherTraining:
    """A training over what `make_all` made."""
    base: dict[str, object] = {
        "sources": (Source("pascal5i", root / "voc"), Source("masks", root / "coco")),
        "steps": 6,
        "presence_steps": 20,
        "batch": 4,
        "views": 3,
        "weights": str(root / "tiny.safetensors"),
        "threads": 1,
    }
    return MatcherTraining(**{**base, **changes})  # type: ignore[arg-type]


def make_all(root: Path) -> Path:
    make_voc(root / "voc")
    make_coco(root / "coco")
    make_weights(root / "tiny.safetensors")
    return root


def training_data(root: Path, **changes: object) -> TrainingData:
    """Over features that are made once for all tests of a process."""
    return prepare(options(root, **changes), root / "features.bin", TRACK)
