"""Images with class labels, to train an embedding on and to measure retrieval and re-identification with.

    images = load_dataset("cub", "data/CUB_200_2011", "train")
    images.paths[0], images.names[images.labels[0]]

Each kind of data set is a file of its own beside this one, a function `load(root, split, ...)`. Training and
test classes are always disjoint: a score says something about classes that were never seen.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from fewshot_seg.errors import ConfigError, DataError, describe

__all__ = [
    "KINDS",
    "SPLITS",
    "LabelledImages",
    "TrainClasses",
    "hold_out_classes",
    "load_dataset",
]

KINDS: Final = (
    *("folder", "csv", "named", "cub", "cars", "sop", "inshop"),
    *("market", "duke", "cuhk03", "msmt17", "veri", "vehicleid"),
)
"""The data sets that `load_dataset` knows."""

SPLITS: Final = ("train", "validation", "test", "query", "gallery")
"""The parts that a data set can be asked for; see `load_dataset`."""

TrainClasses = float | int | Sequence[str]
"""Which classes are trained on; see `class_folder.choose_classes`."""

_EXAMPLES: Final = 3


@dataclass(frozen=True)
class LabelledImages:
    """Image files and the class of each.

    Attributes:
        paths: the files, each once.
        labels: for each image its class, an index into `names`.
        names: the classes' names, each once. Query and gallery of one data set share their names, so that
            their labels can be compared; in such a pair a class may be without images.
        cameras: for each image the camera that took it, or None where that is not known.
        ids: for each image a short text that is its own and the same on every machine: its path from the
            data set's folder, with "/".

    Raises:
        DataError: no images, a file or id that comes up twice, a label without a name, lengths that differ.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    cameras: tuple[int, ...] | None
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.paths:
            raise DataError("no images: this part of the data set is empty; check its folder and its split")
        lengths = {len(self.paths), len(self.labels), len(self.ids)}
        if len(lengths | ({len(self.cameras)} if self.cameras is not None else set())) > 1:
            raise DataError("as many labels, ids and cameras as images are needed")
        if min(self.labels) < 0 or max(self.labels) >= len(self.names):
            raise DataError(f"labels must be 0 to {len(self.names) - 1}, one for each class name")
        for what, values in (("images", list(map(str, self.paths))), ("ids", list(self.ids))):
            if twice := [name for name, count in Counter(values).items() if count > 1]:
                raise DataError(f"{len(twice)} {what} are listed more than once: {examples(twice)}; list each once")
        if len(set(self.names)) < len(self.names):
            raise DataError(f"class names must differ: {examples(_repeated(self.names))} is there twice")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """For each class the indices of its images, ascending; empty for a class without any."""
        found: list[list[int]] = [[] for _ in self.names]
        for index, label in enumerate(self.labels):
            found[label].append(index)
        return tuple(map(tuple, found))

    @property
    def present(self) -> tuple[int, ...]:
        """The labels of the classes that have images, ascending."""
        return tuple(label for label, members in enumerate(self.members) if members)

    def take(self, indices: Sequence[int]) -> LabelledImages:
        """Some of the images, in this order; the names stay, and so do the labels."""
        return LabelledImages(
            tuple(self.paths[i] for i in indices),
            tuple(self.labels[i] for i in indices),
            self.names,
            None if self.cameras is None else tuple(self.cameras[i] for i in indices),
            tuple(self.ids[i] for i in indices),
        )

    def take_classes(self, labels: Sequence[int]) -> LabelledImages:
        """The images of some classes, in order of the images, with names and labels of these classes only.

        Label k of the result is class `labels[k]`.
        """
        place = {label: k for k, label in enumerate(labels)}
        kept = self.take([i for i, label in enumerate(self.labels) if label in place])
        relabelled = tuple(place[label] for label in kept.labels)
        return LabelledImages(kept.paths, relabelled, tuple(self.names[i] for i in labels), kept.cameras, kept.ids)


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


def hold_out_classes(images: LabelledImages, share: float) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation images with disjoint classes: the validation classes lie evenly among all.

    Args:
        images: what there is.
        share: of the classes, above 0 and below 1; at least one class goes to each side.

    Raises:
        ConfigError: another share. DataError: fewer than two classes.
    """
    if not 0 < share < 1:
        raise ConfigError(f"share of classes to hold out {share!r}: must be above 0 and below 1")
    classes = images.present
    if len(classes) < 2:
        raise DataError("one class cannot be shared out between training and validation; give two or more")
    number = min(max(round(share * len(classes)), 1), len(classes) - 1)
    held_out = {classes[(2 * i + 1) * len(classes) // (2 * number)] for i in range(number)}
    kept = [label for label in classes if label not in held_out]
    return images.take_classes(kept), images.take_classes(sorted(held_out))


def examples(names: Sequence[object]) -> str:
    """The first three of a list, for a message, on one line."""
    shown = ", ".join(describe(str(name)) for name in names[:_EXAMPLES])
    return shown + (", ..." if len(names) > _EXAMPLES else "")


_FREE: Final = ("train_classes", "split_file")
_OPTIONS: Final = {
    "folder": _FREE,
    "csv": _FREE,
    "named": ("train_classes", "pattern"),
    "cuhk03": ("boxes",),
    "vehicleid": ("vehicles",),
}


def _loader(kind: str, split_file: str | None) -> Callable[..., LabelledImages]:
    """The function behind a kind; its file is imported only now."""
    from fewshot_seg.datasets import (
        cars,
        class_folder,
        cub,
        cuhk03,
        duke,
        inshop,
        labelled_csv,
        market,
        msmt17,
        named,
        sop,
        vehicleid,
        veri,
    )

    loaders: dict[str, Callable[..., LabelledImages]] = {
        "folder": class_folder.load if split_file is None else labelled_csv.load,
        "csv": labelled_csv.load,
        "cub": cub.load,
        "cars": cars.load,
        "sop": sop.load,
        "inshop": inshop.load,
        "market": market.load,
        "duke": duke.load,
        "cuhk03": cuhk03.load,
        "msmt17": msmt17.load,
        "veri": veri.load,
        "vehicleid": vehicleid.load,
        "named": named.load,
    }
    return loaders[kind]


def _refuse_unknown(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ConfigError(f"unknown {what} {name!r}{hint}: choose {', '.join(known)}")


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
