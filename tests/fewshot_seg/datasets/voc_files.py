"""Tiny folders in PASCAL VOC's layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fewshot_seg.imaging.render import PALETTE

Labels = NDArray[np.uint8]


def write_image(path: Path, size: tuple[int, int], seed: int = 0) -> None:
    """A JPEG of noise, (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)


def write_mask(path: Path, labels: Labels) -> None:
    """A palette PNG, as VOC's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = PIL.Image.fromarray(labels, mode=None)
    image.putpalette(PALETTE.tobytes())
    image.save(path)


def labels_of(*classes: int, size: tuple[int, int] = (24, 32)) -> Labels:
    """(H, W): a bar of each class beside the other, background left and right, void around the first bar."""
    labels = np.zeros(size, np.uint8)
    for place, label in enumerate(classes, start=1):
        labels[4:20, 5 * place : 5 * place + 5] = label
    if classes:
        labels[3:21, 4] = 255
    return labels


def make_voc(root: Path, contents: Mapping[str, tuple[int, ...]]) -> Path:
    """A VOC folder: image id -> the classes in it. And list.txt, with an entry for each."""
    for number, (image_id, classes) in enumerate(contents.items()):
        write_image(root / "JPEGImages" / f"{image_id}.jpg", (24, 32), seed=number)
        write_mask(root / "SegmentationClass" / f"{image_id}.png", labels_of(*classes))
    lines = [f"{image_id}__{label:02d}" for image_id, classes in contents.items() for label in classes]
    (root / "list.txt").write_text("\n".join(lines) + "\n")
    return root


def sixteen(first: int = 1) -> dict[str, tuple[int, ...]]:
    """Sixteen images: six of class `first`, six of the next, four of both."""
    single = {f"a_{n}": (first,) for n in range(6)} | {f"b_{n}": (first + 1,) for n in range(6)}
    return single | {f"c_{n}": (first, first + 1) for n in range(4)}
