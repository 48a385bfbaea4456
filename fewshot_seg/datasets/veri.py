"""VeRi-776 (Liu et al., ECCV 2016): 576 vehicles to train on, 200 to test with, 20 cameras; three lists say which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages, examples
from fewshot_seg.datasets.published import Row, data_folder, labelled, read_fields
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.find import natural_key

__all__ = ["load"]

IMAGES: Final = {"train": 37778, "query": 1678, "gallery": 11579}
_FOLDERS: Final = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
_LISTS: Final = {"train": "name_train.txt", "query": "name_query.txt", "gallery": "name_test.txt"}
_INNER: Final = ("VeRi", "VeRi_with_plate", "VeRi-776", "veri")
_LAYOUT: Final = "VeRi/{name_train.txt, name_query.txt, name_test.txt, image_train, image_query, image_test/NAME.jpg}"
_NAME: Final = re.compile(r"(?P<identity>[0-9]+)_c(?P<camera>[0-9]+)_[^/]*")


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of VeRi-776: "train", "query", "gallery", or "test": query and gallery together.

    A class is a vehicle; queries and gallery share their names. Vehicle and camera are told by a file's name, as in
    0001_c001_00016450_0.jpg. What jk_index.txt calls junk, the same vehicle in the query's camera, is what
    Market-1501's rules leave out, so that list isn't read.

    Args:
        root: the folder of the lists, or the one that holds it.
        split: which part.
        check_counts: refuse a set that is not complete.

    Raises:
        DataError: another layout, names that hold no vehicle and camera, or images missing.
    """
    folder = data_folder(root, _LISTS["query"], _INNER, _LAYOUT)
    parts = {part: _rows(folder, part) for part in (("train",) if split == "train" else ("query", "gallery"))}
    names = sorted({row.name for rows in parts.values() for row in rows}, key=natural_key)
    wanted = tuple(parts) if split == "test" else (split,)
    return labelled(
        folder,
        [row for part in wanted for row in parts[part]],
        names,
        what=f"VeRi-776 {split}",
        published=sum(IMAGES[part] for part in wanted),
        check_counts=check_counts,
    )


def _rows(folder: Path, part: str) -> list[Row]:
    """The images of one list, a name a line."""
    path = folder / _LISTS[part]
    found = [(name, _NAME.fullmatch(name)) for (name,) in read_fields(path, 1)]
    if odd := [name for name, match in found if match is None]:
        raise DataError(f"{describe(path)}: {len(odd)} names do not begin as 0001_c001_ does: {examples(odd)}")
    return [Row(f"{_FOLDERS[part]}/{name}", match["identity"], int(match["camera"])) for name, match in found if match]
