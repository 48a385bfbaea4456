"""Cars-196 (Krause et al., 2013): 196 models of cars, classes 1-98 to train on, 99-196 to test with."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import Row, labelled
from fewshot_seg.errors import DataError, describe

TRAIN_CLASSES: Final = 98
IMAGES: Final = {"train": 8054, "test": 8131}
_WHOLE: Final = "cars_annos.mat"
_PARTS: Final = {"cars_train": "cars_train_annos.mat", "cars_test": "cars_test_annos_withlabels.mat"}
_META: Final = "cars_meta.mat"
_LAYOUT: Final = (
    "cars_annos.mat with car_ims/NUMBER.jpg, or cars_train_annos.mat, cars_test_annos_withlabels.mat and "
    "cars_meta.mat (also in devkit) with cars_train and cars_test (of class folders the kind is folder)"
)


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """The images of classes 1-98 ("train") or 99-196 ("test", "query", "gallery").

    Both published forms are read: one file of annotations for all images, or one each for the classification
    task's parts, which play no role here. Class names get their number, 001 to 196, before them.

    Args:
        root: the folder of the annotations and image folders, or one that holds it as `stanford_cars`.
        split: which part.
        check_counts: refuse a set that is not complete.

    Raises:
        DataError: another layout, unreadable annotations, or images missing.
    """
    folder = next((f for f in (root, root / "stanford_cars", root / "cars196") if _is_here(f)), None)
    if folder is None:
        what = "there are no annotations in it" if root.is_dir() else "no such folder"
        raise DataError(f"{describe(root)}: {what}; the layout is {_LAYOUT}")
    titles, images = _whole(folder) if (folder / _WHOLE).is_file() else _in_parts(folder)
    names = {number: f"{number:03d}.{title}" for number, title in enumerate(titles, start=1)}
    part = "train" if split == "train" else "test"
    rows = []
    for path, number in images:
        if number not in names:
            raise DataError(f"{describe(folder)}: {path} is of class {number}, but {len(names)} classes are named")
        if (number <= TRAIN_CLASSES) == (part == "train"):
            rows.append(Row(path, names[number]))
    wanted = [name for number, name in names.items() if (number <= TRAIN_CLASSES) == (part == "train")]
    what = f"Cars-196 {part}"
    return labelled(folder, rows, wanted, what=what, published=IMAGES[part], check_counts=check_counts)


def _is_here(folder: Path) -> bool:
    return (folder / _WHOLE).is_file() or _found(folder, _PARTS["cars_train"]) is not None


def _whole(folder: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """Class names, and each image's path and class, of the one file."""
    path = folder / _WHOLE
    content = _read(path)
    images = list(_annotations(path, content, "relative_im_path"))
    return _titles(path, content), images


def _in_parts(folder: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """The same of the devkit's files."""
    images: list[tuple[str, int]] = []
    for images_folder, name in _PARTS.items():
        path = _needed(folder, name)
        images.extend((f"{images_folder}/{file}", n) for file, n in _annotations(path, _read(path), "fname"))
    meta = _needed(folder, _META)
    return _titles(meta, _read(meta)), images


def _found(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / "devkit" / name) if path.is_file()), None)


def _needed(folder: Path, name: str) -> Path:
    path = _found(folder, name)
    if path is None:
        raise DataError(f"{describe(folder)}: there is no {name}; the layout is {_LAYOUT}")
    return path


def _read(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content: dict[str, Any] = loadmat(str(path), squeeze_me=True)
    except (OSError, EOFError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        raise DataError(f"{describe(path)}: is no readable MATLAB file; unpack the data set again") from error
    return content


def _annotations(path: Path, content: dict[str, Any], field: str) -> Iterator[tuple[str, int]]:
    """Each image's file, as `field` has it, and its class, 1-based."""
    records = np.atleast_1d(content.get("annotations", []))
    lacking = [name for name in (field, "class") if name not in (records.dtype.names or ())]
    if lacking:
        raise DataError(f"{describe(path)}: its annotations have no {lacking[0]!r}; the layout is {_LAYOUT}")
    for file, number in zip(records[field], records["class"], strict=True):
        yield str(file), int(number)


def _titles(path: Path, content: dict[str, Any]) -> list[str]:
    if "class_names" not in content:
        raise DataError(f"{describe(path)}: holds no class_names; the layout is {_LAYOUT}")
    return [str(title) for title in np.atleast_1d(content["class_names"])]
