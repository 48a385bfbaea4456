"""PASCAL VOC in its own folder layout, with the four folds of PASCAL-5i (Shaban et al., BMVC 2017)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets import BACKGROUND, VOID, Entry
from fewshot_seg.datasets.labelled import examples
from fewshot_seg.datasets.labels import check_size, read_labels
from fewshot_seg.datasets.splits import read_split_list
from fewshot_seg.decode import describe
from fewshot_seg.errors import DataError

CLASSES: Final = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_FOLDS: Final = 4


class PascalVoc:
    """VOC images and masks, and which of them count.

    Args:
        root: the folder with JPEGImages/ID.jpg and SegmentationClass/ID.png (palette indices, 255 void).
        split_list: a list of `ID__CC` lines, as PASCAL-5i's lists are. None means every class of every mask
            in the folder, in the order of the ids.

    Raises:
        DataError: a folder is missing, the list is bad (with file and line), or images or masks that it names
            are missing (how many, and three of them).
        ImageError: without a list, an unreadable mask.
    """

    name = "pascal5i"
    class_names = CLASSES
    folds = tuple(tuple(range(5 * fold + 1, 5 * fold + 6)) for fold in range(_FOLDS))

    def __init__(self, root: str | os.PathLike[str], split_list: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(root)
        images, masks = _listing(self.root / "JPEGImages", ".jpg"), _listing(self._masks, ".png")
        self._labels: dict[str, frozenset[int]] = {}
        if split_list is None:
            _refuse_missing(masks, images, "images", self.root / "JPEGImages", ".jpg")
            self.entries = tuple(self._all_entries(sorted(masks)))
        else:
            self.entries = read_split_list(split_list, len(CLASSES))
            wanted = {entry.image for entry in self.entries}
            _refuse_missing(wanted, images, "images", self.root / "JPEGImages", ".jpg")
            _refuse_missing(wanted, masks, "masks", self._masks, ".png")
        if not self.entries:
            raise DataError(f"{describe(self._masks)}: no mask here holds a class; check the folder")

    def image(self, image_id: str) -> Path:
        """The image's file."""
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    def mask(self, image_id: str) -> NDArray[np.uint8]:
        """(H, W) uint8 labels; see `SegmentationDataset.mask`."""
        path = self._mask_path(image_id)
        labels = read_labels(path, len(CLASSES))
        check_size(path, labels.shape, self.image(image_id))
        return labels

    def labels(self, image_id: str) -> frozenset[int]:
        """The classes in a mask; see `SegmentationDataset.labels`."""
        if image_id not in self._labels:
            found = np.unique(read_labels(self._mask_path(image_id), len(CLASSES))).tolist()
            self._labels[image_id] = frozenset(found) - {BACKGROUND, VOID}
        return self._labels[image_id]

    @property
    def _masks(self) -> Path:
        return self.root / "SegmentationClass"

    def _mask_path(self, image_id: str) -> Path:
        return self._masks / f"{image_id}.png"

    def _all_entries(self, image_ids: Iterable[str]) -> Iterable[Entry]:
        for image_id in image_ids:
            for label in sorted(self.labels(image_id)):
                yield Entry(image_id, label)


def _listing(folder: Path, suffix: str) -> set[str]:
    """The stems of a folder's files of one kind: one listing, instead of a question for each file."""
    try:
        return {path.stem for path in folder.iterdir() if path.suffix == suffix}
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "the root must hold JPEGImages and SegmentationClass, as VOC2012 does"
        raise DataError(f"{describe(folder)}: {reason}; {hint}") from error


def _refuse_missing(wanted: set[str], there: set[str], what: str, folder: Path, suffix: str) -> None:
    missing = [f"{name}{suffix}" for name in sorted(wanted - there)]
    if missing:
        count = f"{len(missing)} of {len(wanted)} {what} are missing: {examples(missing)}"
        raise DataError(f"{describe(folder)}: {count}; add them, or give a list without them")
