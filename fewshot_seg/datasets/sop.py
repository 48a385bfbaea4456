"""Stanford Online Products (Song et al., 2016): 22,634 products, the two lists say which to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import Row, data_folder, labelled, read_fields

__all__ = ["load"]

LISTS: Final = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}
IMAGES: Final = {"train": 59551, "test": 60502}
_LAYOUT: Final = "Stanford_Online_Products/{Ebay_train.txt, Ebay_test.txt, KIND_final/NAME.JPG}"


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """The images of Ebay_train.txt ("train") or Ebay_test.txt ("test", "query", "gallery").

    A class is a product, its name the list's number for it.

    Args:
        root: the folder Stanford_Online_Products, or the one that holds it.
        split: which part.
        check_counts: refuse a set that is not complete.

    Raises:
        DataError: another layout, or images missing.
    """
    part = "train" if split == "train" else "test"
    folder = data_folder(root, LISTS[part], ["Stanford_Online_Products"], _LAYOUT)
    lines = read_fields(folder / LISTS[part], 4, header=1)  # image_id class_id super_class_id path
    rows = [Row(path, name) for _, name, _, path in lines]
    names = list(dict.fromkeys(row.name for row in rows))
    what = f"Stanford Online Products {part}"
    return labelled(folder, rows, names, what=what, published=IMAGES[part], check_counts=check_counts)
