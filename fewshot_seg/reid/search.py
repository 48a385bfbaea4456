"""A gallery of cameras, and who is in it: cosine, query expansion, re-ranking, and what becomes of a query's camera.

A gallery is an index with the columns id and camera. It needs neither, but `SearchOptions.same_camera` does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.datasets.class_folder import PATTERN
from fewshot_seg.datasets.identities import FOLDERS, JUNK
from fewshot_seg.datasets.names import camera_of_text, list_cameras
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import ConfigError, DataError, FewShotError, describe
from fewshot_seg.imaging.images import load_batch
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.reid.expansion import ExpansionOptions, expand_queries
from fewshot_seg.reid.ranking import similarity_rows
from fewshot_seg.reid.rerank import KReciprocal, RerankOptions
from fewshot_seg.retrieval.index import Index
from fewshot_seg.retrieval.search import Hit, Maps, maps_of
from fewshot_seg.streams import Track, untracked

SameCamera = Literal["keep", "drop"]

_ID: Final = "id"
_CAMERA: Final = "camera"
_NAME: Final = re.compile(PATTERN)


class Items(NamedTuple):
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
    columns = {_ID: [images.names[images.labels[place]] for place in kept]}
    if images.cameras is not None:
        columns[_CAMERA] = [str(images.cameras[place]) for place in kept]
    return Items([str(images.paths[place]) for place in kept], columns)


def query_cameras(index: Index, queries: Sequence[str]) -> list[str | None]:
    """The camera of each query: what the index says of the same file, else what its name tells, else None."""
    known = index.columns.get(_CAMERA, [])
    cameras = {os.path.realpath(index.location(row)): camera for row, camera in enumerate(known)}
    return [cameras.get(os.path.realpath(query)) or camera_of(query) for query in queries]


def check_camera(index: Index, camera: str) -> str:
    """A camera that queries are said to be of; ConfigError where no image of the index is of it."""
    known = [other for other in index.columns.get(_CAMERA, []) if other]
    if _key(camera) not in map(_key, known):
        there = list_cameras(map(camera_of_text, known))
        raise ConfigError(f"--camera {describe(camera)}: no image of the gallery is of this camera; there are {there}")
    return camera


def _key(camera: str) -> str:
    return str(camera_of_text(camera))


def camera_of(path: str) -> str | None:
    """What a file's name tells of its camera: 0002_c1s1_000451_03.jpg is of camera 1."""
    match = _NAME.fullmatch(Path(path).stem)
    return None if match is None else str(camera_of_text(match["camera"]))


@dataclass(frozen=True)
class SearchOptions:
    """How a gallery is searched.

    Attributes:
        k: hits of a query at most; None ranks all of the gallery.
        same_camera: "drop" leaves out what the query's own camera took, "keep" doesn't.
        rerank: k-reciprocal re-ranking, which looks at all queries together; None ranks by cosine.
        expansion: of the queries, before that; None for none.

    Raises:
        ConfigError: an impossible value.
    """

    k: int | None = 10
    same_camera: SameCamera = "keep"
    rerank: RerankOptions | None = None
    expansion: ExpansionOptions | None = None

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ConfigError(f"k is {self.k!r}: must be at least 1, or None for the whole gallery")
        if self.same_camera not in ("keep", "drop"):
            raise ConfigError(f"unknown same_camera {self.same_camera!r}: choose keep or drop")


def search_gallery(
    index: Index,
    queries: Sequence[str],
    cameras: Sequence[str | None],
    options: SearchOptions | None = None,
    track: Track | None = None,
) -> Iterator[list[Hit] | FewShotError]:
    """Each query's hits, the best first, of equal ones the one that was indexed first.

    `cameras` are the queries', compared with the index's by `names.camera_of_text`; None where one isn't known.

    Yields:
        A query's hits, whose score is the cosine, or with re-ranking 1 - the distance; for a query that can't be read,
        or whose camera isn't known but needed, its error in their place.

    Raises:
        ConfigError: the policy needs cameras that the index hasn't.
    """
    options = options or SearchOptions()
    drop = options.same_camera == "drop"
    known = index.columns.get(_CAMERA)
    if drop and known is None:
        raise ConfigError(f"leaving out the query's camera needs an index with a column {_CAMERA!r}; build it with one")
    show = track or untracked
    read = [
        _vector(query, camera, index.embedder, drop)
        for query, camera in show(list(zip(queries, cameras, strict=True)), len(queries), "reading queries")
    ]
    vectors = [one for one in read if isinstance(one, Tensor)]
    asked = [camera for camera, one in zip(cameras, read, strict=True) if isinstance(one, Tensor)]
    rows = _rows(index, torch.stack(vectors), options, track) if vectors else iter(())
    taken = np.array([_key(camera) for camera in known]) if drop and known is not None else None
    found = _best(rows, asked, taken, len(index) if options.k is None else options.k)
    for query, one in zip(queries, read, strict=True):
        yield one if isinstance(one, FewShotError) else _hits(index, query, *next(found))


@torch.inference_mode()
def _vector(query: str, camera: str | None, embedder: Embedder, needs_camera: bool) -> Tensor | FewShotError:
    if needs_camera and camera is None:
        return DataError(f"{query}: its camera isn't known; say it, or keep what the same camera took")
    try:
        return embedder(load_batch([query], embedder)).vector[0].float()
    except FewShotError as error:
        return error


def _rows(index: Index, queries: Tensor, options: SearchOptions, track: Track | None) -> Iterator[Tensor]:
    """(q,G) scores of some queries at a time."""
    gallery = torch.from_numpy(np.asarray(index.vectors)).to(queries.device)
    if options.expansion is not None:
        queries = expand_queries(queries, gallery, options.expansion)
    if options.rerank is None:
        return similarity_rows(queries, gallery)
    ranked = KReciprocal(torch.cat([queries, gallery]), options.rerank, track)
    return (1 - distances for distances in ranked.distance_rows(len(queries)))


def _best(
    rows: Iterator[Tensor], cameras: Sequence[str | None], taken: NDArray[np.str_] | None, k: int
) -> Iterator[tuple[list[float], list[int]]]:
    """Scores and gallery rows of each query's first k, without those that its own camera has `taken` (G,)."""
    asked = iter(cameras)
    for part in rows:
        for scores in part.cpu():
            camera = next(asked)
            order = scores.argsort(descending=True, stable=True)
            if taken is not None and camera is not None:
                order = order[torch.from_numpy(taken != _key(camera))[order]]
            yield scores[order[:k]].tolist(), order[:k].tolist()


def _hits(index: Index, query: str, scores: Sequence[float], rows: Sequence[int]) -> list[Hit]:
    hits = []
    for score, row in zip(scores, rows, strict=True):
        path, columns = index.describe(row)
        explain = partial(_explain, index.embedder, query)
        hits.append(Hit(path, min(score, 1.0), row, columns, index.location(row), 0, explain))
    return hits


@torch.inference_mode()
def _explain(embedder: Embedder, query: str, hit: Hit) -> Maps:
    """The query is embedded again: of thousands of queries, few are explained."""
    return maps_of(embedder, embedder(load_batch([query], embedder)), hit)
