"""CUB-200-2011 (Wah et al., 2011): 200 birds, the first 100 classes to train on, the last 100 to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import Row, data_folder, labelled, read_fields
from fewshot_seg.errors import DataError, describe

__all__ = ["load"]

TRAIN_CLASSES: Final = 100
IMAGES: Final = {"train": 5864, "test": 5924}
_LAYOUT: Final = (
    "CUB_200_2011/{images.txt, image_class_labels.txt, classes.txt, images/CLASS/NAME.jpg} "
    "(of class folders alone the kind is folder)"
)


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """The images of classes 1-100 ("train") or 101-200 ("test", "query", "gallery").

    Args:
        root: the folder CUB_200_2011, or the one that holds it.
        split: which part.
        check_counts: refuse a set that is not complete.

    Raises:
        DataError: another layout, or images missing.
    """
    folder = data_folder(root, "images.txt", ["CUB_200_2011"], _LAYOUT)
    paths = dict(read_fields(folder / "images.txt", 2))
    names = {int(number): name for number, name in _numbered(folder / "classes.txt")}
    part = "train" if split == "train" else "test"
    rows = []
    for image, number in _numbered(folder / "image_class_labels.txt", key=False):
        if image not in paths or int(number) not in names:
            file = describe(folder / "image_class_labels.txt")
            raise DataError(f"{file}: image {image} of class {number} is not in images.txt and classes.txt")
        if (int(number) <= TRAIN_CLASSES) == (part == "train"):
            rows.append(Row(f"images/{paths[image]}", names[int(number)]))
    wanted = dict.fromkeys(name for number, name in names.items() if (number <= TRAIN_CLASSES) == (part == "train"))
    what = f"CUB-200-2011 {part}"
    return labelled(folder, rows, list(wanted), what=what, published=IMAGES[part], check_counts=check_counts)


def _numbered(path: Path, key: bool = True) -> list[list[str]]:
    """Lines of two fields, of which the first (or the second) is a whole number."""
    lines = read_fields(path, 2)
    for line in lines:
        if not line[0 if key else 1].isdigit():
            raise DataError(f"{describe(path)}: {' '.join(line)!r} has no class number; unpack the data set again")
    return lines
