"""Every data set by its name: those with masks, to draw episodes from, and those with class labels.

    dataset = open_dataset("pascal5i", "VOC2012", "fold0.txt")
    images = load_dataset("cub", "data/CUB_200_2011", "train")

Each is a class or a function in a file beside this one, imported only when it is asked for. Of those with class labels,
training and test classes are always disjoint: a score says something about classes that were never seen.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fewshot_seg.datasets.labelled import LabelledImages, TrainClasses, hold_out_classes
from fewshot_seg.datasets.segmentation import SegmentationDataset
from fewshot_seg.errors import ConfigError

_LOADERS: Final = {
    "folder": "class_folder.load",
    "csv": "labelled_csv.load",
    "named": "named.load",
    "cub": "products.cub",
    "cars": "cars.load",
    "sop": "products.sop",
    "inshop": "products.inshop",
    "market": "people.market",
    "duke": "people.duke",
    "cuhk03": "people.cuhk03",
    "msmt17": "people.msmt17",
    "veri": "vehicles.veri",
    "vehicleid": "vehicles.vehicleid",
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
    name: str,
    root: str | os.PathLike[str],
    split_list: str | os.PathLike[str] | None = None,
    *,
    allow_missing: bool = False,
) -> SegmentationDataset:
    """The data set called `name` in the folder `root`.

    Args:
        name: one of `dataset_names()`.
        root: its folder; for "coco20i" also its json file.
        split_list: which entries count; None means all that the masks hold.
        allow_missing: leave out what the list names but the folder lacks, instead of refusing.

    Raises:
        ConfigError: no data set of this name. DataError: its files are not as they must be.
    """
    _refuse_unknown("data set", name, dataset_names())
    return _openers()[name](root, split_list, allow_missing)


def dataset_names() -> tuple[str, ...]:
    """The names that `open_dataset` takes."""
    return tuple(_openers())


_Path = str | os.PathLike[str]


def _openers() -> dict[str, Callable[[_Path, _Path | None, bool], SegmentationDataset]]:
    from fewshot_seg.datasets.coco import Coco
    from fewshot_seg.datasets.folder import ClassFolders
    from fewshot_seg.datasets.masks import ImagesAndMasks
    from fewshot_seg.datasets.pascal import PascalVoc

    return {"pascal5i": PascalVoc, "coco20i": Coco, "masks": ImagesAndMasks, "folder": ClassFolders}


def load_dataset(
    kind: str,
    root: str | os.PathLike[str],
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
        pattern: named: the regular expression that tells class and camera from a path, see `named.load`.
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
    part = "test" if split == "validation" and holdout == 0 else split
    if part not in ("train", "validation") or holdout == 0:
        return _loader(kind, split_file)(Path(root), part, **options)
    kept, held_out = hold_out_classes(_loader(kind, split_file)(Path(root), "train", **options), holdout)
    return kept if part == "train" else held_out


def _loader(kind: str, split_file: str | None) -> Callable[..., LabelledImages]:
    """The function behind a kind; its module is imported only now."""
    module, function = _LOADERS["csv" if kind == "folder" and split_file is not None else kind].split(".")
    load: Callable[..., LabelledImages] = getattr(import_module(f"fewshot_seg.datasets.{module}"), function)
    return load


def _refuse_unknown(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(f"unknown {what} {name!r}{hint}: choose {', '.join(known)}")
