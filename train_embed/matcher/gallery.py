"""Images with masks from several data sets, their classes under one name and number each."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets import VOID, SegmentationDataset, open_dataset
from fewshot_seg.datasets.pascal import CLASSES
from fewshot_seg.errors import DataError, ImageError, describe
from train_embed.matcher.options import Source

SAME: Final[Mapping[str, str]] = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
"""COCO's names of classes that VOC has under another."""

_PER_FOLD: Final = 5


class Picture(NamedTuple):
    """An image: the number of its data set, its id there, its file."""

    source: int
    image_id: str
    path: Path


class Gallery:
    """All images of some data sets that their lists name, each once, in order.

    Attributes:
        names: class c (1-based) is `names[c - 1]`; VOC's twenty come first, whether there are any or not.
        pictures: the images.

    Raises:
        ConfigError, DataError: as `open_dataset`.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self._sets = [open_dataset(source.kind, source.root) for source in sources]
        names = list(CLASSES)
        self._tables = [_numbers(dataset, names) for dataset in self._sets]
        self.names = tuple(names)
        self.pictures = tuple(
            Picture(number, image_id, dataset.image(image_id))
            for number, dataset in enumerate(self._sets)
            for image_id in dict.fromkeys(entry.image for entry in dataset.entries)
        )

    def labels(self, number: int) -> NDArray[np.int16]:
        """(H, W) labels of picture `number`: 0 background, c class c of `names`, VOID. Errors as `mask`."""
        picture = self.pictures[number]
        mask = self._sets[picture.source].mask(picture.image_id)
        return self._tables[picture.source][mask]

    def numbers(self, names: Collection[str]) -> frozenset[int]:
        """The labels (1-based) of some classes."""
        return frozenset(number for number, name in enumerate(self.names, start=1) if name in names)

    def counts(self) -> dict[str, int]:
        """How many images each source gave, by "KIND" or "KIND (2)" where a kind comes again."""
        found: dict[str, int] = {}
        for number, source in enumerate(self.sources):
            again = 1 + sum(earlier.kind == source.kind for earlier in self.sources[:number])
            name = source.kind if again == 1 else f"{source.kind} ({again})"
            found[name] = sum(picture.source == number for picture in self.pictures)
        return found

    def digest(self) -> str:
        """SHA-256 of the images' files, in order. ImageError: one can't be read."""
        digest = hashlib.sha256()
        for picture in self.pictures:
            try:
                with picture.path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise ImageError(f"{describe(picture.path)}: {error.strerror or error}") from error
        return digest.hexdigest()


def fold_names(fold: int | None) -> tuple[str, ...]:
    """The classes that PASCAL-5i's fold holds out; none for None."""
    return () if fold is None else CLASSES[_PER_FOLD * fold : _PER_FOLD * (fold + 1)]


def _numbers(dataset: SegmentationDataset, names: list[str]) -> NDArray[np.int16]:
    """(L+2,) the gallery's label for each of a data set's, VOID (-1) included; new names are added to `names`."""
    table = np.zeros(len(dataset.class_names) + 2, np.int16)
    for label, own in enumerate(dataset.class_names, start=1):
        name = SAME.get(own, own)
        if name not in names:
            names.append(name)
        table[label] = names.index(name) + 1
    if len(names) > np.iinfo(np.int16).max:
        raise DataError(f"{len(names)} classes in all: at most {np.iinfo(np.int16).max} can be told apart")
    table[VOID] = VOID
    return table
