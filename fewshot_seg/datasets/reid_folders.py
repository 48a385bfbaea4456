"""The layout that Market-1501 gave to re-identification: three folders, identity and camera in each file's name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages, examples
from fewshot_seg.datasets.published import Row, data_folder, labelled
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.find import natural_key

__all__ = ["FOLDERS", "load_folders"]

FOLDERS: Final = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
JUNK: Final = "-1"
"""The identity of detections that are nobody: they count neither for nor against, and are left out."""

_NAME: Final = re.compile(r"(?P<identity>-1|[0-9]+)_c(?P<camera>[0-9]+)[^/]*")
_SUFFIXES: Final = (".jpg", ".jpeg", ".png")


def load_folders(
    root: Path, split: str, *, title: str, inner: Sequence[str], published: Mapping[str, int], check_counts: bool
) -> LabelledImages:
    """One part of a set in this layout, without junk (identity -1).

    Args:
        root: the folder of the three, or one that holds it as one of `inner`.
        split: "train", "query", "gallery", or "test": query and gallery together. The last three share their
            class names, so that labels can be compared.
        title: the set's name in messages.
        inner: names of the folder that the archive unpacks to.
        published: split -> number of images, junk left out.
        check_counts: refuse another number than that.

    Raises:
        DataError: another layout, names that hold no identity and camera, or another number of images.
    """
    layout = f"{inner[0]}/{{bounding_box_train, query, bounding_box_test}}/ID_cCAMERA....jpg"
    folder = data_folder(root, FOLDERS["train"], inner, layout)
    if split == "train":
        rows = _rows(folder, "train")
        identities = {row.name for row in rows}
    else:
        both = {part: _rows(folder, part) for part in ("query", "gallery")}
        identities = {row.name for rows in both.values() for row in rows}
        rows = both["query"] + both["gallery"] if split == "test" else both[split]
    return labelled(
        folder,
        rows,
        sorted(identities, key=natural_key),
        what=f"{title} {split}",
        published=published["query"] + published["gallery"] if split == "test" else published[split],
        check_counts=check_counts,
    )


def _rows(folder: Path, part: str) -> list[Row]:
    """The images of one of the folders, in order of their names."""
    inner = folder / FOLDERS[part]
    try:
        files = [name for name in os.listdir(inner) if name.lower().endswith(_SUFFIXES)]  # noqa: PTH208
    except OSError as error:
        raise DataError(f"{describe(inner)}: the folder cannot be listed ({error.strerror})") from error
    files = sorted(name for name in files if not name.startswith("."))
    found = [(name, _NAME.fullmatch(name)) for name in files]
    if odd := [name for name, match in found if match is None]:
        raise DataError(
            f"{describe(inner)}: {len(odd)} names do not begin as 0002_c1 does, identity and camera: {examples(odd)}"
        )
    return [
        Row(f"{FOLDERS[part]}/{name}", match["identity"], int(match["camera"]))
        for name, match in found
        if match is not None and match["identity"] != JUNK
    ]
