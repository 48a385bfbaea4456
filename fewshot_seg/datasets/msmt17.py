"""MSMT17 (Wei et al., CVPR 2018): 1,041 people to train on, 3,060 to test with, 15 cameras; four lists say which."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import Row, data_folder, labelled, read_fields
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.find import natural_key

__all__ = ["load"]

IMAGES: Final = {"train": 32621, "query": 11659, "gallery": 82161}
# Training and validation images are of the same people; published figures are of training with both.
_LISTS: Final = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
    "test": ("list_query.txt", "list_gallery.txt"),
}
_FOLDERS: Final = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}  # V1, V2 with blurred faces
_INNER: Final = ("MSMT17_V1", "MSMT17_V2", "MSMT17", "msmt17")
_LAYOUT: Final = "MSMT17_V1/{list_train.txt, list_val.txt, list_query.txt, list_gallery.txt, train, test/ID/NAME.jpg}"


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of MSMT17: "train" (its training and validation lists), "query", "gallery", "test" (both).

    A class is a person, its name the list's number for them; queries and gallery share their names. The camera is
    the third number of a file's name, as in 0000_000_01_0303morning_0008_0.jpg.

    Args:
        root: the folder of the lists, version 1 or 2, or the one that holds it.
        split: which part.
        check_counts: refuse a set that is not complete.

    Raises:
        DataError: another layout, a line or name of another form, or images missing.
    """
    folder = data_folder(root, _LISTS["query"][0], _INNER, _LAYOUT)
    images = _images_folder(folder, "train" if split == "train" else "test")
    lists = {name: _rows(folder / name, images) for name in _LISTS["train" if split == "train" else "test"]}
    names = sorted({row.name for rows in lists.values() for row in rows}, key=natural_key)
    return labelled(
        folder,
        [row for name in _LISTS[split] for row in lists[name]],
        names,
        what=f"MSMT17 {split}",
        published=IMAGES["query"] + IMAGES["gallery"] if split == "test" else IMAGES[split],
        check_counts=check_counts,
    )


def _images_folder(folder: Path, part: str) -> str:
    for name in _FOLDERS[part]:
        if (folder / name).is_dir():
            return name
    raise DataError(f"{describe(folder)}: there is no {' or '.join(_FOLDERS[part])} in it; the layout is {_LAYOUT}")


def _rows(path: Path, images: str) -> list[Row]:
    """The images of one list, each a line "ID/NAME.jpg NUMBER"."""
    rows = []
    for image, number in read_fields(path, 2):
        parts = Path(image).name.split("_")
        if len(parts) < 4 or not parts[2].isdecimal():
            raise DataError(f"{describe(path)}: {image} does not tell its camera as 0000_000_01_0303morning.jpg does")
        rows.append(Row(f"{images}/{image}", number, int(parts[2])))
    return rows
