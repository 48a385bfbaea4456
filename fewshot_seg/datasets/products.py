"""Retrieval's published sets with lists in plain text: CUB-200-2011, Stanford Online Products and In-Shop.

`root` is the folder that the archive unpacks to, or the one that holds it; `check_counts` refuses a set that isn't
complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import Row, data_folder, labelled, load_parts, read_fields
from fewshot_seg.errors import DataError, describe

# Wah et al., 2011: 200 birds, the first 100 classes to train on, the last 100 to test with.
CUB_IMAGES: Final = {"train": 5864, "test": 5924}
_CUB_TRAIN_CLASSES: Final = 100
_CUB_LAYOUT: Final = (
    "CUB_200_2011/{images.txt, image_class_labels.txt, classes.txt, images/CLASS/NAME.jpg} "
    "(of class folders alone the kind is folder)"
)
# Song et al., 2016: 22,634 products, the two lists say which to train on.
SOP_IMAGES: Final = {"train": 59551, "test": 60502}
_SOP_LAYOUT: Final = "Stanford_Online_Products/{Ebay_train.txt, Ebay_test.txt, KIND_final/NAME.JPG}"
# Liu et al., CVPR 2016, of DeepFashion: 7,982 garments, queries and gallery apart.
INSHOP_IMAGES: Final = {"train": 25882, "query": 14218, "gallery": 12612}
_INSHOP_LIST: Final = "list_eval_partition.txt"
_INSHOP_INNER: Final = ("Eval", "In-shop Clothes Retrieval Benchmark", "In-shop Clothes Retrieval Benchmark/Eval")
_INSHOP_LAYOUT: Final = (
    "In-shop Clothes Retrieval Benchmark/{Eval/list_eval_partition.txt, Img/img/WOMEN/KIND/id_NUMBER/NAME.jpg}"
)


def cub(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """CUB's images of classes 1-100 ("train") or 101-200 ("test", "query", "gallery").

    Raises:
        DataError: another layout, or images missing.
    """
    folder = data_folder(root, "images.txt", ["CUB_200_2011"], _CUB_LAYOUT)
    paths = dict(read_fields(folder / "images.txt", 2))
    names = {int(number): name for number, name in _numbered(folder / "classes.txt")}
    part = "train" if split == "train" else "test"
    rows = []
    for image, number in _numbered(folder / "image_class_labels.txt", key=False):
        if image not in paths or int(number) not in names:
            file = describe(folder / "image_class_labels.txt")
            raise DataError(f"{file}: image {image} of class {number} is not in images.txt and classes.txt")
        if (int(number) <= _CUB_TRAIN_CLASSES) == (part == "train"):
            rows.append(Row(f"images/{paths[image]}", names[int(number)]))
    wanted = [name for number, name in names.items() if (number <= _CUB_TRAIN_CLASSES) == (part == "train")]
    what, published = f"CUB-200-2011 {part}", CUB_IMAGES[part]
    return labelled(
        folder, rows, list(dict.fromkeys(wanted)), what=what, published=published, check_counts=check_counts
    )


def _numbered(path: Path, key: bool = True) -> list[list[str]]:
    """Lines of two fields, of which the first (or the second) is a whole number."""
    lines = read_fields(path, 2)
    for line in lines:
        if not line[0 if key else 1].isdigit():
            raise DataError(f"{describe(path)}: {' '.join(line)!r} has no class number; unpack the data set again")
    return lines


def sop(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """The products of Ebay_train.txt ("train") or Ebay_test.txt ("test", "query", "gallery"), named by their numbers.

    Raises:
        DataError: another layout, or images missing.
    """
    part = "train" if split == "train" else "test"
    listed = f"Ebay_{part}.txt"
    folder = data_folder(root, listed, ["Stanford_Online_Products"], _SOP_LAYOUT)
    lines = read_fields(folder / listed, 4, header=1)  # image_id class_id super_class_id path
    rows = [Row(path, name) for _, name, _, path in lines]
    names = list(dict.fromkeys(row.name for row in rows))
    what = f"Stanford Online Products {part}"
    return labelled(folder, rows, names, what=what, published=SOP_IMAGES[part], check_counts=check_counts)


def inshop(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of In-Shop's list: "train", "query", "gallery", or "test": query and gallery together.

    A class is an item. Queries and gallery share their class names, so that labels can be compared; no image is in
    both. The list may lie in Eval or beside it, the images in Img or beside it, as the archives unpack to.

    Raises:
        DataError: another layout, a line of another form, or images missing.
    """
    listed = data_folder(root, _INSHOP_LIST, _INSHOP_INNER, _INSHOP_LAYOUT) / _INSHOP_LIST
    folder = listed.parent.parent if listed.parent.name == "Eval" else listed.parent
    prefix = "Img/" if (folder / "Img" / "img").is_dir() else ""
    rows: dict[str, list[Row]] = {part: [] for part in INSHOP_IMAGES}
    for path, item, part in read_fields(listed, 3, header=2):  # the number of lines, the columns' names
        if part not in rows:
            raise DataError(f"{describe(listed)}: {path} is in part {part!r}, not in train, query or gallery")
        rows[part].append(Row(f"{prefix}{path}", item))
    return load_parts(
        folder,
        rows.__getitem__,
        split,
        what="In-Shop",
        published=INSHOP_IMAGES,
        check_counts=check_counts,
        by_name=False,
    )
