"""What the data sets of images with masks share: sizes checked, labels remembered, files that must be there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.labelled import examples
from fewshot_seg.datasets.segmentation import BACKGROUND, Entry
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.decode import MAX_PIXELS, opened, oriented
from fewshot_seg.imaging.masks import VOID, size_message


class MaskedImages(ABC):
    """A `SegmentationDataset` whose masks are read one by one; a subclass says where from.

    Attributes:
        name, class_names, folds, entries, missing: see `SegmentationDataset`.
    """

    name: str
    class_names: tuple[str, ...]
    folds: tuple[tuple[int, ...], ...]
    entries: tuple[Entry, ...]
    missing: tuple[str, ...]

    def __init__(self) -> None:
        self._labels: dict[str, frozenset[int]] = {}

    @abstractmethod
    def image(self, image_id: str) -> Path:
        """The image's file."""

    @abstractmethod
    def _mask_file(self, image_id: str) -> Path:
        """The file that an image's mask is from, for messages."""

    @abstractmethod
    def _read(self, image_id: str) -> NDArray[np.int32]:
        """(H, W) labels, checked but for their size."""

    def mask(self, image_id: str) -> NDArray[np.int32]:
        """(H, W) int32 labels; see `SegmentationDataset.mask`."""
        labels, image = self._read(image_id), self.image(image_id)
        with opened(image, MAX_PIXELS) as picture:
            width, height = oriented(picture).size
        if labels.shape != (height, width):
            name = describe(self._mask_file(image_id))
            raise DataError(size_message(name, labels.shape, (height, width), None))
        return labels

    def labels(self, image_id: str) -> frozenset[int]:
        """The classes in a mask; see `SegmentationDataset.labels`."""
        if image_id not in self._labels:
            found = np.unique(self._read(image_id)).tolist()
            self._labels[image_id] = frozenset(found) - {BACKGROUND, VOID}
        return self._labels[image_id]

    def _held(self, image_ids: Iterable[str]) -> Iterable[Entry]:
        """Every class of every mask, in the order of the ids and the classes; reads all the masks."""
        for image_id in image_ids:
            for label in sorted(self.labels(image_id)):
                yield Entry(image_id, label)


class Folder(NamedTuple):
    """Files that entries need: which ids have one, and how to say so."""

    there: Collection[str]
    what: str
    path: Path
    suffix: str = ""


def only_present(
    wanted: Iterable[str], folders: Sequence[Folder], allow_missing: bool
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The ids that have all their files, and those that don't.

    Raises:
        DataError: some don't (how many, and three of them), unless that is allowed; or none does.
    """
    ids = sorted(set(wanted))
    lacking: set[str] = set()
    for folder in folders:
        missing = [one for one in ids if one not in folder.there]
        if missing and not allow_missing:
            named = examples([f"{one}{folder.suffix}" for one in missing])
            count = f"{len(missing)} of {len(ids)} {folder.what} are missing: {named}"
            advice = "add them, give a list without them, or go on without them by --allow-missing"
            raise DataError(f"{describe(folder.path)}: {count}; {advice}")
        lacking.update(missing)
    if ids and len(lacking) == len(ids):
        raise DataError(f"{describe(folders[0].path)}: of {len(ids)} listed images none has its files; check the list")
    return frozenset(ids) - lacking, tuple(one for one in ids if one in lacking)


def listing(folder: Path, suffixes: Collection[str], hint: str) -> dict[str, Path]:
    """A folder's files of some kinds by their stems: one listing, instead of a question for each file.

    Raises:
        DataError: the folder can't be listed; two files of one stem.
    """
    found: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{describe(folder)}: {error.strerror or error}; {hint}") from error
    for path in paths:
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            both = f"{found[path.stem].name} and {path.name}"
            raise DataError(f"{describe(folder)}: two files of one name, {describe(both)}; keep one")
        found[path.stem] = path
    return found


def interleaved(classes: int, folds: int = 4) -> tuple[tuple[int, ...], ...]:
    """Folds as COCO-20i has them in HSNet's code: fold i holds out classes i + 1, i + 5, ... (1-based)."""
    return tuple(tuple(range(fold + 1, classes + 1, folds)) for fold in range(min(folds, classes)))
