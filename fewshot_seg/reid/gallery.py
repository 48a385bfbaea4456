"""Who is in a gallery: an index with the columns id and camera, or a folder whose file names tell both."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.class_folder import PATTERN
from fewshot_seg.datasets.identities import FOLDERS, JUNK
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import DataError
from fewshot_seg.retrieval.index import Index

ID: Final = "id"
CAMERA: Final = "camera"
"""The columns of an index that re-identification looks at; it needs neither, but `SearchOptions.same_camera` does."""

_NAME: Final = re.compile(PATTERN)


@dataclass(frozen=True)
class Items:
    """What `Index.build` takes: paths, and for each of them the columns id and camera."""

    paths: list[str]
    columns: dict[str, list[str]]


def read_items(folder: Path, pattern: str | None = None) -> Items:
    """The images of a folder, searched through, or of a data set's gallery in Market-1501's layout; junk is left out.

    Args:
        folder: the folder, or the one that holds bounding_box_test.
        pattern: tells id and camera from a path, see `datasets.class_folder.named`; NAME_c1... or NAME_cam1... if None.

    Raises:
        DataError: no images, or names that tell no id. ConfigError: an impossible pattern.
    """
    if pattern is None and (folder / FOLDERS["gallery"]).is_dir():
        images = load_dataset("market", folder, "gallery", check_counts=False)
    else:
        images = load_dataset("named", folder, "test", train_classes=0, pattern=pattern)
    kept = [place for place, label in enumerate(images.labels) if images.names[label] != JUNK]
    if not kept:
        raise DataError(f"{folder}: holds junk alone (identity {JUNK}); give a gallery")
    columns = {ID: [images.names[images.labels[place]] for place in kept]}
    if images.cameras is not None:
        columns[CAMERA] = [str(images.cameras[place]) for place in kept]
    return Items([str(images.paths[place]) for place in kept], columns)


def query_cameras(index: Index, queries: Sequence[str]) -> list[str | None]:
    """The camera of each query: what the index says of the same file, else what its name tells, else None."""
    known = index.columns.get(CAMERA)
    files = {} if known is None else {os.path.realpath(index.location(row)): row for row in range(len(index))}
    cameras: list[str | None] = []
    for query in queries:
        row = files.get(os.path.realpath(query))
        cameras.append(camera_of(query) if row is None or known is None or not known[row] else known[row])
    return cameras


def camera_of(path: str) -> str | None:
    """What a file's name tells of its camera: 0002_c1s1_000451_03.jpg is of camera 1."""
    match = _NAME.fullmatch(Path(path).stem)
    return None if match is None else str(int(match["camera"]))
