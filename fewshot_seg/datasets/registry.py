"""Every data set by its name: those with masks, to draw episodes from, and those with class labels.

    dataset = open_dataset("pascal5i", "VOC2012", "fold0.txt")
    images = load_dataset("cub", "data/CUB_200_2011", "train")

Each is a class or a function in a file beside this one, imported only when it is asked for. Of those with class labels,
training and test classes are always disjoint: a score says something about classes that were never seen.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fewshot_seg.datasets.labelled import LabelledImages, TrainClasses, hold_out_classes
from fewshot_seg.datasets.segmentation import SegmentationDataset, StrPath
from fewshot_seg.errors import ConfigError

_DATASETS: Final = {
    "pascal5i": "pascal.PascalVoc",
    "coco20i": "coco.Coco",
    "masks": "masks.ImagesAndMasks",
    "folder": "folder.ClassFolders",
}
_LOADERS: Final = {
    "folder": "class_folder.load",
    "csv": "labelled_csv.load",
    "named": "class_folder.named",
    "cub": "products.cub",
    "cars": "products.cars",
    "sop": "products.sop",
    "inshop": "products.inshop",
    "market": "identities.market",
    "duke": "identities.duke",
    "cuhk03": "identities.cuhk03",
    "msmt17": "identities.msmt17",
    "veri": "identities.veri",
    "vehicleid": "identities.vehicleid",
}
KINDS: Final = tuple(_LOADERS)
"""The data sets that `load_dataset` knows."""

SPLITS: Final = ("train", "validation", "test", "query", "gallery")
"""The parts that a data set can be asked for; see `load_dataset`."""

_FREE: Final = ("train_classes", "split_file")
_OPTIONS: Final = {
    "folder": _FREE,
    "csv": _FREE,
    "named": ("train_classes", "pattern"),
    "cuhk03": ("boxes",),
    "vehicleid": ("vehicles",),
}


def open_dataset(
    name: str, root: StrPath, split_list: StrPath | None = None, *, allow_missing: bool = False, strict: bool = False
) -> SegmentationDataset:
    """The data set called `name`, one of `dataset_names()`; for the rest see `SegmentationDataset`.

    Raises:
        ConfigError: no data set of this name. DataError: its files are not as they must be.
    """
    _refuse_unknown("data set", name, dataset_names())
    found: SegmentationDataset = _behind(_DATASETS[name])(root, split_list, allow_missing, strict)
    return found


def dataset_names() -> tuple[str, ...]:
    """The names that `open_dataset` takes."""
    return tuple(_DATASETS)


def load_dataset(
    kind: str,
    root: StrPath,
    split: str = "train",
    *,
    train_classes: TrainClasses | None = None,
    split_file: str | None = None,
    boxes: str | None = None,
    vehicles: int | None = None,
    pattern: str | None = None,
    holdout: float = 0.0,
    check_counts: bool = True,
) -> LabelledImages:
    """One part of a data set.

    Retrieval sets (folder, csv, named, cub, cars, sop, inshop): "train" and "test" have different classes; "query" and
    "gallery" are both "test", unless a table says otherwise (and In-Shop's list does).
    Re-identification sets (market, duke, cuhk03, msmt17, veri): "train", "query" and "gallery" as published, "test" is
    query and gallery together; of vehicleid all three are one list.

    "validation" is what a training run looks at: with `holdout` above 0 that share of the training classes,
    which "train" then leaves out; with 0 it is the same as "test".

    Args:
        kind: one of `KINDS`.
        root: the data set's folder; for "csv" also the table itself.
        split: one of `SPLITS`.
        train_classes: folder, named and csv (where the table has no column `split`): which classes are trained on,
            by share, number, names or ranges, as `class_folder.choose_classes` takes them. Half by default.
        split_file: folder and csv: the name of a CSV file in `root`, see `labelled_csv`. Of "folder" there is none
            by default, and the folders are what counts; of "csv" it is df.csv.
        boxes: cuhk03: "detected" (default) or "labeled".
        vehicles: vehicleid: which of its test lists, by how many vehicles it holds; 800 by default.
        pattern: named: the regular expression that tells class and camera from a path, see `class_folder.named`.
        holdout: share of the training classes to hold out for validation, 0 to below 1.
        check_counts: refuse a published set that is not complete; False takes what is there.

    Raises:
        ConfigError: an unknown kind or split, an option that this kind does not have or an impossible value.
        DataError: the files are not as they must be: which, how many, three of them.
    """
    _refuse_unknown("data set", kind, KINDS)
    _refuse_unknown("split", split, SPLITS)
    if not 0 <= holdout < 1:
        raise ConfigError(f"share of classes to hold out {holdout!r}: must be 0 or more, and below 1")
    given: dict[str, Any] = {"train_classes": train_classes, "split_file": split_file, "boxes": boxes}
    given |= {"vehicles": vehicles, "pattern": pattern}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if name not in _OPTIONS.get(kind, ()):
            raise ConfigError(f"a data set of kind {kind!r} has no option {name!r}; leave it out")
    if kind != "folder" or split_file is not None:
        options["check_counts"] = check_counts
    load = _behind(_LOADERS["csv" if kind == "folder" and split_file is not None else kind])
    part = "test" if split == "validation" and holdout == 0 else split
    if part not in ("train", "validation") or holdout == 0:
        found: LabelledImages = load(Path(root), part, **options)
        return found
    kept, held_out = hold_out_classes(load(Path(root), "train", **options), holdout)
    return kept if part == "train" else held_out


def _behind(home: str) -> Callable[..., Any]:
    """The class or function behind a name; its module is imported only now."""
    module, name = home.split(".")
    found: Callable[..., Any] = getattr(import_module(f"fewshot_seg.datasets.{module}"), name)
    return found


def _refuse_unknown(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(f"unknown {what} {name!r}{hint}: choose {', '.join(known)}")
