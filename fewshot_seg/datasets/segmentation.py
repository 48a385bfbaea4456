"""Labelled images to draw episodes from: what every data set of images with masks shares, and its split lists.

A split list is a text file of lines `ID__CC`: an image and the 1-based number of a class in it.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.labelled import examples
from fewshot_seg.errors import ConfigError, DataError, ImageError, describe
from fewshot_seg.files import regular
from fewshot_seg.imaging.decode import MAX_PIXELS, opened, oriented
from fewshot_seg.imaging.find import IMAGE_SUFFIXES
from fewshot_seg.imaging.masks import VOID, brought_to, read_labels, size_message

BACKGROUND: Final = 0
_FOLDS: Final = 4
_LINE: Final = re.compile(r"(?P<image>[^\s/\\](?:[^\\]*[^\s/\\])?)__(?P<label>[0-9]{1,4})")

_log = logging.getLogger(__name__)

Fold = int | Literal["all"]
StrPath = str | os.PathLike[str]


class Entry(NamedTuple):
    """One line of a split list: `image` holds an object of class `label` (1-based)."""

    image: str
    label: int


class Files(NamedTuple):
    """Files that entries need: image id -> file, and how to say that one is missing from `folder`."""

    there: Mapping[str, Path]
    what: str
    folder: Path
    suffix: str = ""

    def of(self, image_id: str) -> Path:
        """An image's file, or where it should be."""
        return self.there.get(image_id, self.folder / f"{image_id}{self.suffix}")


class SegmentationDataset(ABC):
    """Images and their label masks; a subclass says where they are, and how its masks are read.

    Nothing is read before it is asked for, apart from folder listings, the split list and, without one, every mask.

    A mask of another size than its image's is brought to it by nearest neighbour, if its shape is the same within 2 %.

    Args:
        root: the data set's folder.
        split_list: which entries count. None means every class of every mask, in the order of the ids.
        allow_missing: leave out entries whose image or mask isn't there, instead of refusing.
        strict: refuse data of which anything had to be left out or brought to another size.

    Attributes:
        name: as `open_dataset` takes it.
        class_names: class c (1-based) is `class_names[c - 1]`; names are unique.
        entries: all (image, class) pairs, in the list's order.
        missing: ids that the list or the folder names but whose image or mask isn't there; none unless allowed.
        left_out: what the data holds that can't be used: of each kind how many, and which is the first.

    Raises:
        DataError: another layout, a bad list (with file and line), or missing files (how many, and three of them).
        ImageError: without a list, an unreadable mask.
    """

    name: ClassVar[str]
    class_names: tuple[str, ...]
    _images: Files
    _masks: Files
    _empty: ClassVar[str] = "no mask here holds a class; check the folder"

    def __init__(
        self, root: StrPath, split_list: StrPath | None = None, allow_missing: bool = False, strict: bool = False
    ) -> None:
        self.root, self._list, self._strict = Path(root), split_list, strict
        self._labels: dict[str, frozenset[int]] = {}
        self.left_out: Mapping[str, tuple[int, str]] = {}
        self._lay_out()
        for kind, (count, first) in self.left_out.items():
            self._say(f"{kind} are left out: {count}, the first is {first}")
        listed = self._listed()
        ids = self._masks.there if listed is None else [one.image for one in listed]
        present, self.missing = self._only_present(ids, allow_missing)
        found = self._held(sorted(present)) if listed is None else listed
        self.entries = tuple(one for one in found if one.image in present)
        if not self.entries:
            raise DataError(f"{describe(self._masks.folder)}: {self._empty}")

    @property
    def folds(self) -> tuple[tuple[int, ...], ...]:
        """The classes (1-based) that each fold holds out: fold i 1 + i, 5 + i, ..., as COCO-20i's in HSNet's code."""
        classes = len(self.class_names)
        return tuple(tuple(range(fold + 1, classes + 1, _FOLDS)) for fold in range(min(_FOLDS, classes)))

    def image(self, image_id: str) -> Path:
        """The image's file."""
        return self._images.of(image_id)

    def mask(self, image_id: str) -> NDArray[np.int32]:
        """(H, W) int32 labels at the image's native size: 0 background, c class c, VOID to be ignored.

        Raises:
            DataError: a label that is no class, or another shape than the image's. ImageError: unreadable.
        """
        labels = self._read(image_id)
        with opened(self.image(image_id), MAX_PIXELS) as picture:
            width, height = oriented(picture).size
        if self._strict and labels.shape != (height, width):
            raise DataError(size_message(describe(self._masks.of(image_id)), labels.shape, (height, width), None))
        return brought_to(labels, (height, width), self._masks.of(image_id))

    def resized(self, image_ids: Iterable[str]) -> tuple[str, ...]:
        """Those whose mask has another size than their image, by the files' heads; said once. DataError if strict."""
        found = tuple(one for one in dict.fromkeys(image_ids) if _sizes_differ(self._masks.of(one), self.image(one)))
        if found:
            self._say(
                f"masks of another size than their image are brought to it: {len(found)}, the first is {found[0]}"
            )
        return found

    def _say(self, what: str) -> None:
        line = f"{describe(self._masks.folder)}: {what}"
        if self._strict:
            raise DataError(f"{line}; mend them, or go on without --strict")
        _say_once(line)

    def labels(self, image_id: str) -> frozenset[int]:
        """The classes in the image's mask; read once, then remembered. Errors as `mask`."""
        if image_id not in self._labels:
            found = np.unique(self._read(image_id)).tolist()
            self._labels[image_id] = frozenset(found) - {BACKGROUND, VOID}
        return self._labels[image_id]

    @abstractmethod
    def _lay_out(self) -> None:
        """Find the classes' names and the files."""

    def _listed(self) -> Sequence[Entry] | None:
        """What the split list holds; None for every class of every mask."""
        return None if self._list is None else read_split_list(self._list, len(self.class_names))

    def _read(self, image_id: str) -> NDArray[np.int32]:
        """(H, W) labels, checked but for their size."""
        return read_labels(self._masks.of(image_id), len(self.class_names))

    def _held(self, image_ids: Iterable[str]) -> Iterable[Entry]:
        """Every class of every mask, in the order of the ids and the classes; reads all the masks."""
        return (Entry(image_id, label) for image_id in image_ids for label in sorted(self.labels(image_id)))

    def _only_present(self, wanted: Iterable[str], allow_missing: bool) -> tuple[frozenset[str], tuple[str, ...]]:
        """The ids that have all their files, and those that don't."""
        ids = sorted(set(wanted))
        lacking: set[str] = set()
        for files in (self._images, self._masks):
            missing = [one for one in ids if one not in files.there]
            if missing and not allow_missing:
                named = examples([f"{one}{files.suffix}" for one in missing])
                count = f"{len(missing)} of {len(ids)} {files.what} are missing: {named}"
                advice = "add them, give a list without them, or go on without them by --allow-missing"
                raise DataError(f"{describe(files.folder)}: {count}; {advice}")
            lacking.update(missing)
        if ids and len(lacking) == len(ids):
            where = describe(self._images.folder)
            raise DataError(f"{where}: of {len(ids)} listed images none has its files; check the list")
        return frozenset(ids) - lacking, tuple(sorted(lacking))


@cache
def _say_once(line: str) -> None:
    _log.warning("%s", line)


def _sizes_differ(mask: Path, image: Path) -> bool:
    """Whether two image files are of different sizes, as their heads say; not of files that can't be read."""
    if mask.suffix.lower() in IMAGE_SUFFIXES:
        with suppress(ImageError), opened(mask, MAX_PIXELS) as one, opened(image, MAX_PIXELS) as other:
            return bool(one.size != other.size and oriented(one).size != oriented(other).size)
    return False


def fold_classes(dataset: SegmentationDataset, fold: Fold) -> tuple[int, ...]:
    """The classes (1-based) that a fold holds out; "all" is every class, for development. ConfigError: no such fold."""
    if fold == "all":
        return tuple(range(1, len(dataset.class_names) + 1))
    if fold not in range(len(dataset.folds)):
        raise ConfigError(f"fold {fold!r}: {dataset.name} has folds 0 to {len(dataset.folds) - 1}, or 'all'")
    return dataset.folds[fold]


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


def read_split_list(path: StrPath, classes: int) -> tuple[Entry, ...]:
    """The entries of a list, in its order; blank lines are passed over.

    Args:
        path: a UTF-8 text file.
        classes: class numbers go from 1 to this.

    Raises:
        DataError: no readable text, no entries, a line of another form, an unknown class, an entry twice.
    """
    seen: dict[Entry, int] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        entry = _entry(line.strip(), f"{describe(path)}:{number}", classes)
        if entry in seen:
            raise DataError(f"{describe(path)}:{number}: {line.strip()!r} is in line {seen[entry]} too")
        seen[entry] = number
    if not seen:
        raise DataError(f"{describe(path)}: the list has no entries; a line is ID__CC, as 2007_000033__01")
    return tuple(seen)


def _entry(line: str, where: str, classes: int) -> Entry:
    found = _LINE.fullmatch(line)
    if found is None or {"", ".", ".."}.intersection(found["image"].split("/")):
        raise DataError(f"{where}: {line!r} is not of the form ID__CC, such as 2007_000033__01")
    label = int(found["label"])
    if not 1 <= label <= classes:
        raise DataError(f"{where}: {line!r} has the unknown class {label}; classes go from 1 to {classes}")
    return Entry(found["image"], label)


def _text(path: StrPath) -> str:
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{describe(path)}: cannot read the split list: {reason}; check the path") from error
    except ValueError as error:
        raise DataError(f"{describe(path)}: the split list is no UTF-8 text; give a list of ID__CC lines") from error


def read_ids(path: StrPath) -> frozenset[str]:
    """Image ids, one a line, as VOC's ImageSets/Segmentation/val.txt has them.

    Raises:
        DataError: no readable text, or nothing in it.
    """
    ids = frozenset(line.strip() for line in _text(path).splitlines() if line.strip())
    if not ids:
        raise DataError(f"{describe(path)}: the file has no image ids; give one a line")
    return ids
