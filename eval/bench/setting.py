"""What all comparisons are told, and the images that they work on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.export import write_image
from fewshot_seg.streams import Track, untracked

_PHOTOGRAPHS: Final = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry")
_SIZE: Final = (500, 375)  # width and height, as most of VOC's images have


@dataclass(frozen=True)
class Setting:
    """How much is timed, and on what.

    Attributes:
        root: a folder in VOC's layout, for real images and their masks; None: photographs of scikit-image's.
        weights, device: as `load_embedder` takes them.
        rounds: how often each variant has its turn.
        batch: images at a time, for attention.
        pairs: of query and support in all, for the textbook's pipeline.
        queries: of a folder.
        images: to be embedded.
        cached: episodes of a round, for the cache of features.
        limit_mib: of the cache of features.
        track: shows progress.
    """

    root: Path | None = None
    weights: str = "default"
    device: str = "auto"
    rounds: int = 5
    batch: int = 16
    pairs: int = 40
    queries: int = 200
    images: int = 1000
    cached: int = 200
    limit_mib: int = 1024
    track: Track = untracked

    @property
    def few_rounds(self) -> int:
        """For what takes a minute a round: half as many."""
        return max(1, self.rounds // 2)

    def settings(self) -> dict[str, Any]:
        """JSON values for bench.json: what was asked for, and of whose images."""
        names = ("weights", "device", "rounds", "batch", "pairs", "queries", "images", "cached", "limit_mib")
        return {"root": None if self.root is None else str(self.root)} | {name: getattr(self, name) for name in names}


def image_files(setting: Setting, count: int, folder: Path) -> list[Path]:
    """`count` JPEG files; where there are fewer images, they come again in turn.

    Args:
        setting: whose root they are from, JPEGImages in it.
        count: how many.
        folder: where scikit-image's photographs are written, 500 x 375, if there is no root.

    Raises:
        DataError: no images in the root.
    """
    if setting.root is None:
        found = [_written(folder / f"{name}.jpg", image) for name, image in _photographs()]
    else:
        found = sorted((setting.root / "JPEGImages").glob("*.jpg"))
    if not found:
        raise DataError(f"{describe(setting.root)}: has no JPEGImages/*.jpg; give a folder in VOC's layout by --root")
    return list(itertools.islice(itertools.cycle(found), count))


def split_list(root: Path) -> Path | None:
    """The split list that a folder brings along, if any."""
    path = root / "dev.txt"
    return path if path.is_file() else None


def on_device(run: Callable[[], object], device: str) -> Callable[[], None]:
    """`run`, which on a GPU ends when its results are there."""

    def waiting() -> None:
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    return waiting


def _photographs() -> Iterable[tuple[str, NDArray[np.uint8]]]:
    from skimage import data

    return ((name, getattr(data, name)()) for name in _PHOTOGRAPHS)


def _written(path: Path, image: NDArray[np.uint8]) -> Path:
    write_image(path, np.asarray(cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA)))
    return path
