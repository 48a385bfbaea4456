"""Data sets: one file for each layout on disk; `registry` knows them by name."""

from fewshot_seg.datasets.registry import dataset_names, open_dataset
from fewshot_seg.datasets.segmentation import BACKGROUND, Entry, Fold, SegmentationDataset, fold_classes
from fewshot_seg.imaging.masks import VOID

__all__ = [
    "BACKGROUND",
    "VOID",
    "Entry",
    "Fold",
    "SegmentationDataset",
    "dataset_names",
    "fold_classes",
    "open_dataset",
]
