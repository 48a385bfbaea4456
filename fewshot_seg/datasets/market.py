"""Market-1501 (Zheng et al., 2015): 751 people to train on, 750 to test with, 6 cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.reid_folders import load_folders

__all__ = ["load"]

# bounding_box_test has 19,732 files; 3,819 of them are junk (identity -1). Identity 0000, the distractors, stays.
IMAGES: Final = {"train": 12936, "query": 3368, "gallery": 15913}
_INNER: Final = ("Market-1501-v15.09.15", "Market-1501", "market1501")


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of Market-1501; see `reid_folders.load_folders`.

    Args:
        root: the folder with bounding_box_train, query and bounding_box_test, or the one that holds it.
        split: "train", "query", "gallery" or "test".
        check_counts: refuse a set that is not complete. False also reads other sets in this layout.

    Raises:
        DataError: another layout, or another number of images.
    """
    return load_folders(root, split, title="Market-1501", inner=_INNER, published=IMAGES, check_counts=check_counts)
