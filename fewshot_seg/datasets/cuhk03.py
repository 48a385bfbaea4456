"""CUHK03-NP (Li et al., 2014; protocol of Zhong et al., 2017): 767 people to train on, 700 to test with, 2 cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import data_folder
from fewshot_seg.datasets.reid_folders import load_folders
from fewshot_seg.errors import ConfigError

__all__ = ["load"]

IMAGES: Final = {
    "detected": {"train": 7365, "query": 1400, "gallery": 5332},
    "labeled": {"train": 7368, "query": 1400, "gallery": 5328},
}
_INNER: Final = ("cuhk03-np", "CUHK03-NP", "cuhk03")
_LAYOUT: Final = "cuhk03-np/{detected, labeled}/{bounding_box_train, query, bounding_box_test}/ID_cCAMERA_N.png"


def load(root: Path, split: str, *, boxes: str = "detected", check_counts: bool = True) -> LabelledImages:
    """One part of CUHK03 under the new protocol; see `reid_folders.load_folders`.

    Args:
        root: the folder with detected and labeled, or the one that holds it.
        split: "train", "query", "gallery" or "test".
        boxes: those that were "detected" or drawn by hand ("labeled").
        check_counts: refuse a set that is not complete.

    Raises:
        ConfigError: other boxes. DataError: another layout, or another number of images.
    """
    if boxes not in IMAGES:
        raise ConfigError(f"unknown boxes {boxes!r} of CUHK03-NP: choose {' or '.join(IMAGES)}")
    folder = data_folder(root, boxes, _INNER, _LAYOUT) / boxes
    return load_folders(
        folder,
        split,
        title=f"CUHK03-NP ({boxes})",
        inner=(boxes,),
        published=IMAGES[boxes],
        check_counts=check_counts,
    )
