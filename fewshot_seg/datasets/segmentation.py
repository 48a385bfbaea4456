"""Labelled images to draw episodes from: one file for each data set, all with one small protocol.

A data set lists (image, class) entries and gives an image's path and its label mask. Nothing is read before
it is asked for, apart from folder listings and the split list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError

BACKGROUND: Final = 0

Fold = int | Literal["all"]


class Entry(NamedTuple):
    """One line of a split list: `image` holds an object of class `label` (1-based)."""

    image: str
    label: int


class SegmentationDataset(Protocol):
    """What episodes and the evaluation ask of a data set."""

    @property
    def name(self) -> str:
        """As `open_dataset` takes it."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class c (1-based) is `class_names[c - 1]`; names are unique."""

    @property
    def folds(self) -> tuple[tuple[int, ...], ...]:
        """The classes (1-based) that each fold holds out."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All (image, class) pairs, in the list's order."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids that the list or the folder names but whose image or mask isn't there; none unless allowed."""

    def image(self, image_id: str) -> Path:
        """The image's file."""

    def mask(self, image_id: str) -> NDArray[np.int32]:
        """(H, W) int32 labels at the image's native size: 0 background, c class c, VOID to be ignored.

        Raises:
            DataError: a label that is no class, or another size than the image's. ImageError: unreadable.
        """

    def labels(self, image_id: str) -> frozenset[int]:
        """The classes in the image's mask; read once, then remembered. Errors as `mask`."""


def fold_classes(dataset: SegmentationDataset, fold: Fold) -> tuple[int, ...]:
    """The classes (1-based) that a fold holds out; "all" is every class, for development.

    Raises:
        ConfigError: no such fold.
    """
    if fold == "all":
        return tuple(range(1, len(dataset.class_names) + 1))
    if fold not in range(len(dataset.folds)):
        raise ConfigError(f"fold {fold!r}: {dataset.name} has folds 0 to {len(dataset.folds) - 1}, or 'all'")
    return dataset.folds[fold]
