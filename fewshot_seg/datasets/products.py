"""Retrieval's published sets: CUB-200-2011, Cars-196, Stanford Online Products and In-Shop.

`root` is the folder that the archive unpacks to, or the one that holds it; `check_counts` refuses a set that isn't
complete. All raise a DataError for another layout, damaged lists, or images missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import PublishedSet, Row, read_fields, read_mat
from fewshot_seg.errors import DataError, describe

# Wah et al., 2011: 200 birds, the first 100 classes to train on, the last 100 to test with.
CUB: Final = PublishedSet(
    "CUB-200-2011",
    {"train": 5864, "test": 5924},
    ("images.txt",),
    ("CUB_200_2011",),
    "CUB_200_2011/{images.txt, image_class_labels.txt, classes.txt, images/CLASS/NAME.jpg} "
    "(of class folders alone the kind is folder)",
)
# Krause et al., 2013: 196 models of cars, classes 1-98 to train on, 99-196 to test with.
CARS: Final = PublishedSet(
    "Cars-196",
    {"train": 8054, "test": 8131},
    ("cars_annos.mat", "cars_train_annos.mat", "devkit/cars_train_annos.mat"),
    ("stanford_cars", "cars196"),
    "cars_annos.mat with car_ims/NUMBER.jpg, or cars_train_annos.mat, cars_test_annos_withlabels.mat and "
    "cars_meta.mat (also in devkit) with cars_train and cars_test (of class folders the kind is folder)",
)
_CARS_PARTS: Final = {"cars_train/": "cars_train_annos.mat", "cars_test/": "cars_test_annos_withlabels.mat"}
# Song et al., 2016: 22,634 products, the two lists say which to train on.
SOP: Final = PublishedSet(
    "Stanford Online Products",
    {"train": 59551, "test": 60502},
    ("Ebay_train.txt", "Ebay_test.txt"),
    ("Stanford_Online_Products",),
    "Stanford_Online_Products/{Ebay_train.txt, Ebay_test.txt, KIND_final/NAME.JPG}",
)
# Liu et al., CVPR 2016, of DeepFashion: 7,982 garments, queries and gallery apart.
INSHOP: Final = PublishedSet(
    "In-Shop",
    {"train": 25882, "query": 14218, "gallery": 12612},
    ("list_eval_partition.txt",),
    ("Eval", "In-shop Clothes Retrieval Benchmark", "In-shop Clothes Retrieval Benchmark/Eval"),
    "In-shop Clothes Retrieval Benchmark/{Eval/list_eval_partition.txt, Img/img/WOMEN/KIND/id_NUMBER/NAME.jpg}",
)


def cub(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """CUB's images of classes 1-100 ("train") or 101-200 ("test", "query", "gallery")."""
    folder = CUB.folder(root)
    paths = dict(read_fields(folder / "images.txt", 2))
    names = {int(number): name for number, name in _numbered(folder / "classes.txt")}
    images = []
    for image, number in _numbered(folder / "image_class_labels.txt", key=False):
        if image not in paths or int(number) not in names:
            file = describe(folder / "image_class_labels.txt")
            raise DataError(f"{file}: image {image} of class {number} is not in images.txt and classes.txt")
        images.append((f"images/{paths[image]}", int(number)))
    return CUB.halves(folder, images, names, split, last=100, check_counts=check_counts)


def _numbered(path: Path, key: bool = True) -> list[list[str]]:
    """Lines of two fields, of which the first (or the second) is a whole number."""
    lines = read_fields(path, 2)
    for line in lines:
        if not line[0 if key else 1].isdigit():
            raise DataError(f"{describe(path)}: {' '.join(line)!r} has no class number; unpack the data set again")
    return lines


def cars(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """The images of classes 1-98 ("train") or 99-196 ("test", "query", "gallery").

    Both published forms are read: one file of annotations for all images, or one each for the classification
    task's parts, which play no role here. Class names get their number, 001 to 196, before them.
    """
    folder = CARS.folder(root)
    if (folder / "cars_annos.mat").is_file():
        parts, field, meta = {"": "cars_annos.mat"}, "relative_im_path", "cars_annos.mat"
    else:
        parts, field, meta = _CARS_PARTS, "fname", "cars_meta.mat"
    paths = {name: _cars_file(folder, name) for name in (*parts.values(), meta)}
    contents = {name: read_mat(path, squeeze=True) for name, path in paths.items()}
    images = [
        (f"{inner}{file}", number)
        for inner, name in parts.items()
        for file, number in _annotations(paths[name], contents[name], field)
    ]
    if "class_names" not in contents[meta]:
        raise DataError(f"{describe(paths[meta])}: holds no class_names; the layout is {CARS.layout}")
    titles = np.atleast_1d(contents[meta]["class_names"])
    names = {number: f"{number:03d}.{title}" for number, title in enumerate(titles, start=1)}
    if unnamed := [(path, number) for path, number in images if number not in names]:
        path, number = unnamed[0]
        raise DataError(f"{describe(folder)}: {path} is of class {number}, but {len(names)} classes are named")
    return CARS.halves(folder, images, names, split, last=98, check_counts=check_counts)


def _cars_file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / "devkit" / name):
        if path.is_file():
            return path
    raise DataError(f"{describe(folder)}: there is no {name}; the layout is {CARS.layout}")


def _annotations(path: Path, content: dict[str, Any], field: str) -> Iterator[tuple[str, int]]:
    """Each image's file, as `field` has it, and its class, 1-based."""
    records = np.atleast_1d(content.get("annotations", []))
    lacking = [name for name in (field, "class") if name not in (records.dtype.names or ())]
    if lacking:
        raise DataError(f"{describe(path)}: its annotations have no {lacking[0]!r}; the layout is {CARS.layout}")
    for file, number in zip(records[field], records["class"], strict=True):
        yield str(file), int(number)


def sop(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """The products of Ebay_train.txt ("train") or Ebay_test.txt (any other split), named by their numbers."""
    part = "train" if split == "train" else "test"
    folder = SOP.folder(root)
    lines = read_fields(folder / f"Ebay_{part}.txt", 4, header=1)  # image_id class_id super_class_id path
    rows = [Row(path, name) for _, name, _, path in lines]
    return SOP.part(folder, rows, [*dict.fromkeys(row.name for row in rows)], part, check_counts)


def inshop(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of In-Shop's list: "train", "query", "gallery", or "test": query and gallery together.

    A class is an item. Queries and gallery share their class names, so that labels can be compared; no image is in
    both. The list may lie in Eval or beside it, the images in Img or beside it, as the archives unpack to.
    """
    listed = INSHOP.folder(root) / INSHOP.markers[0]
    folder = listed.parent.parent if listed.parent.name == "Eval" else listed.parent
    prefix = "Img/" if (folder / "Img" / "img").is_dir() else ""
    rows: dict[str, list[Row]] = {part: [] for part in INSHOP.images}
    for path, item, part in read_fields(listed, 3, header=2):  # the number of lines, the columns' names
        if part not in rows:
            raise DataError(f"{describe(listed)}: {path} is in part {part!r}, not in train, query or gallery")
        rows[part].append(Row(f"{prefix}{path}", item))
    return INSHOP.lists(folder, rows.__getitem__, split, check_counts, by_name=False)
