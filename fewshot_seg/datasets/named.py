"""Images whose paths say what is in them: a pattern tells the class, and the camera where there is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.class_folder import DEFAULT_SHARE, choose_classes
from fewshot_seg.datasets.labelled import LabelledImages, TrainClasses, examples
from fewshot_seg.datasets.published import Row, labelled
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.imaging.find import find_images, natural_key

PATTERN: Final = r"(?P<id>[^/]+?)_c(am)?(?P<camera>\d+)[^/]*"
"""NAME_c1..., NAME_cam1...: Market-1501's file names, and many others."""


def load(
    root: Path,
    split: str,
    *,
    pattern: str = PATTERN,
    train_classes: TrainClasses = DEFAULT_SHARE,
    check_counts: bool = True,
) -> LabelledImages:
    """The images of the training classes ("train") or of all others ("test", "query", "gallery").

    Args:
        root: a folder; it is searched through.
        split: which part.
        pattern: a regular expression for the end of a path from `root`, without the suffix, that begins at a folder's
            or file's name. Its group `id` is the class; its group `camera`, if it has one, a number.
        train_classes: see `class_folder.choose_classes`.
        check_counts: refuse images that the pattern doesn't fit; False leaves them out.

    Raises:
        ConfigError: no regular expression, or none with the group `id`. DataError: no images, or names that don't fit.
    """
    known = _compiled(pattern)
    rows, odd = [], []
    for path in find_images([root], recursive=True):
        inside = path.relative_to(root)
        match = known.search(inside.with_suffix("").as_posix())
        if match is None or not match["id"]:
            odd.append(inside.as_posix())
            continue
        camera = match.groupdict().get("camera")
        rows.append(Row(inside.as_posix(), match["id"], None if camera is None else int(camera)))
    if odd and (check_counts or not rows):
        raise DataError(f"{describe(root)}: {len(odd)} paths do not fit the pattern {pattern!r}: {examples(odd)}")
    names = sorted({row.name for row in rows}, key=natural_key)
    train = set(choose_classes(names, train_classes))
    shown = [name for name in names if (name in train) == (split == "train")]
    kept = [row for row in rows if row.name in set(shown)]
    return labelled(root, kept, shown, what=f"split {split!r}", check_counts=check_counts)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        known = re.compile(rf"(?:^|/)(?:{pattern})$")
    except re.error as error:
        raise ConfigError(f"pattern {pattern!r}: is no regular expression ({error})") from error
    if "id" not in known.groupindex:
        raise ConfigError(f"pattern {pattern!r}: has no group (?P<id>...) that tells the class")
    return known
