"""Images whose paths say their class: folders ROOT/CLASS/NAME.jpg, or names that a pattern reads.

Some of the classes are to train on ("train"), all others to test with ("test", "query", "gallery").
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages, TrainClasses, examples
from fewshot_seg.datasets.names import camera_of_text
from fewshot_seg.datasets.published import Row, labelled
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.imaging.find import find_images, natural_key, subfolders

PATTERN: Final = r"(?P<id>[^/]+?)_c(am)?(?P<camera>\d+)[^/]*"
"""NAME_c1..., NAME_cam1...: Market-1501's file names, and many others."""

DEFAULT_SHARE = 0.5
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "query", "gallery"}


def load(root: Path, split: str, *, train_classes: TrainClasses = DEFAULT_SHARE) -> LabelledImages:
    """The images of one part, in class folders.

    A class is a folder directly in `root`; images in it and below it count, hidden files and folders and those
    without an image don't. Classes and images are in natural order (2 before 10).

    Args:
        root: the folder of class folders.
        split: "train", or any other for the test classes.
        train_classes: see `choose_classes`.

    Raises:
        DataError: no such folder, no classes in it, folders named as splits, or none left for this split.
        ConfigError: `train_classes` cannot be.
    """
    folders = subfolders(root)
    names = [*folders]
    if names and {name.lower() for name in names} <= _SPLIT_NAMES:
        raise DataError(
            f"{describe(root)}: its folders are {', '.join(names)}, which are no classes; "
            f"give the folder above the class folders, such as {describe(root / names[0])}"
        )
    files = {name: images for name, folder in folders.items() if (images := _images(folder))}
    if not files:
        raise DataError(f"{describe(root)}: no class folders with images; the layout is CLASS/NAME.jpg")
    train = set(choose_classes(tuple(files), train_classes))
    wanted = [name for name in files if (name in train) == (split == "train")]
    if not wanted:
        other = "trained on" if split != "train" else "left for testing"
        raise DataError(f"{describe(root)}: split {split!r} is empty: all {len(files)} classes are {other}")
    paths = [path for name in wanted for path in files[name]]
    labels = [label for label, name in enumerate(wanted) for _ in files[name]]
    ids = tuple(path.relative_to(root).as_posix() for path in paths)
    return LabelledImages(tuple(paths), tuple(labels), tuple(wanted), None, ids)


def named(
    root: Path,
    split: str,
    *,
    pattern: str = PATTERN,
    train_classes: TrainClasses = DEFAULT_SHARE,
    check_counts: bool = True,
) -> LabelledImages:
    """The images of one part, of which a pattern tells the class, and the camera where there is one.

    Args:
        root: a folder; it is searched through.
        split: "train", or any other for the test classes.
        pattern: a regular expression for the end of a path from `root`, without the suffix, that begins at a folder's
            or file's name. Its group `id` is the class; its group `camera`, if it has one, the camera (`names`).
        train_classes: see `choose_classes`.
        check_counts: refuse images that the pattern doesn't fit; False leaves them out.

    Raises:
        ConfigError: no regular expression, or none with the group `id`. DataError: no images, or names that don't fit.
    """
    try:
        known = re.compile(rf"(?:^|/)(?:{pattern})$")
    except re.error as error:
        raise ConfigError(f"pattern {pattern!r}: is no regular expression ({error})") from error
    if "id" not in known.groupindex:
        raise ConfigError(f"pattern {pattern!r}: has no group (?P<id>...) that tells the class")
    rows, odd = [], []
    for path in find_images([root], recursive=True):
        inside = path.relative_to(root)
        match = known.search(inside.with_suffix("").as_posix())
        if match is None or not match["id"]:
            odd.append(inside.as_posix())
            continue
        camera = match.groupdict().get("camera")
        rows.append(Row(inside.as_posix(), match["id"], None if camera is None else camera_of_text(camera)))
    if odd and (check_counts or not rows):
        raise DataError(f"{describe(root)}: {len(odd)} paths do not fit the pattern {pattern!r}: {examples(odd)}")
    names = sorted({row.name for row in rows}, key=natural_key)
    train = set(choose_classes(names, train_classes))
    shown = [name for name in names if (name in train) == (split == "train")]
    kept = [row for row in rows if row.name in set(shown)]
    return labelled(root, kept, shown, what=f"split {split!r}", check_counts=check_counts)


def choose_classes(names: Sequence[str], train_classes: TrainClasses) -> tuple[str, ...]:
    """The names of the classes to train on.

    Args:
        names: all classes, in order.
        train_classes: a float is a share, 0 to 1: the first classes, so many; a whole number: the first so
            many. Texts: names; patterns ("0*", as in a shell); ranges "001..100", from the first class whose
            name begins with 001 (or would stand after it) to the last that begins with 100 (or stands before).

    Returns:
        The chosen names in the order of `names`.

    Raises:
        ConfigError: a share or number out of range, or a text that fits no class.
    """
    if isinstance(train_classes, str):
        train_classes = [train_classes]
    if isinstance(train_classes, bool) or not isinstance(train_classes, (int, float, Sequence)):
        raise ConfigError(f"train_classes {train_classes!r}: must be a share, a number, or names of classes")
    if isinstance(train_classes, float):
        if not 0 <= train_classes <= 1:
            raise ConfigError(f"train_classes {train_classes!r}: as a share it must be 0 to 1")
        return tuple(names[: round(train_classes * len(names))])
    if isinstance(train_classes, int):
        if not 0 <= train_classes <= len(names):
            raise ConfigError(f"train_classes {train_classes}: there are {len(names)} classes")
        return tuple(names[:train_classes])
    chosen: set[str] = set()
    for text in train_classes:
        fitting = [name for name in names if _fits(name, str(text))]
        if not fitting:
            raise ConfigError(f"train_classes {text!r}: no class has this name or fits it")
        chosen.update(fitting)
    return tuple(name for name in names if name in chosen)


def _fits(name: str, text: str) -> bool:
    first, dots, last = text.partition("..")
    if name == text:
        return True
    if dots and first and last:
        after = name.startswith(first) or natural_key(name) >= natural_key(first)
        return after and (name.startswith(last) or natural_key(name) <= natural_key(last))
    return fnmatch.fnmatchcase(name, text)


def _images(folder: Path) -> list[Path]:
    """The folder's images; none is no error, for a stray folder need not be a class."""
    try:
        return find_images([folder], recursive=True)
    except DataError:
        if os.access(folder, os.R_OK | os.X_OK):
            return []
        raise
