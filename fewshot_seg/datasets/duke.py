"""DukeMTMC-reID (Ristani et al., 2016; Zheng et al., 2017): 702 people to train on, 702 to test with, 8 cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.reid_folders import load_folders

__all__ = ["load"]

# The gallery has 408 people more, who come up under one camera only.
IMAGES: Final = {"train": 16522, "query": 2228, "gallery": 17661}
_INNER: Final = ("DukeMTMC-reID", "dukemtmc-reid", "dukemtmcreid")


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of DukeMTMC-reID; see `reid_folders.load_folders`.

    Args:
        root: the folder with bounding_box_train, query and bounding_box_test, or the one that holds it.
        split: "train", "query", "gallery" or "test".
        check_counts: refuse a set that is not complete.

    Raises:
        DataError: another layout, or another number of images.
    """
    return load_folders(root, split, title="DukeMTMC-reID", inner=_INNER, published=IMAGES, check_counts=check_counts)
