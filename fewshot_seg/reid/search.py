"""Searching a gallery for who is in a query: cosine, query expansion, re-ranking, and what becomes of its camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, DataError, FewShotError
from fewshot_seg.imaging.images import load_batch
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.reid.expansion import ExpansionOptions, expand_queries
from fewshot_seg.reid.gallery import CAMERA
from fewshot_seg.reid.ranking import similarity_rows
from fewshot_seg.reid.rerank import KReciprocal, RerankOptions
from fewshot_seg.retrieval.index import Index
from fewshot_seg.retrieval.search import Hit, Maps, maps_of
from fewshot_seg.streams import Track, untracked

SameCamera = Literal["keep", "drop"]


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

    Args:
        index: the gallery; with the column camera where `same_camera` is "drop".
        queries: image files.
        cameras: of each query, as the index writes them; None where it isn't known.
        options: the defaults if None.
        track: shows progress.

    Yields:
        A query's hits, whose score is the cosine, or with re-ranking 1 - the distance; for a query that can't be read,
        or whose camera isn't known but needed, its error in their place.

    Raises:
        ConfigError: the policy needs cameras that the index hasn't.
    """
    options = options or SearchOptions()
    drop = options.same_camera == "drop"
    known = index.columns.get(CAMERA)
    if drop and known is None:
        raise ConfigError(f"leaving out the query's camera needs an index with a column {CAMERA!r}; build it with one")
    show = track or untracked
    read = [
        _vector(query, camera, index.embedder, drop)
        for query, camera in show(list(zip(queries, cameras, strict=True)), len(queries), "reading queries")
    ]
    vectors = [one for one in read if isinstance(one, Tensor)]
    allowed = _Allowed(known if drop else None)
    asked = [camera for camera, one in zip(cameras, read, strict=True) if isinstance(one, Tensor)]
    rows = _rows(index, torch.stack(vectors), options, track) if vectors else iter(())
    found = _best(rows, asked, allowed, len(index) if options.k is None else options.k)
    for query, one in zip(queries, read, strict=True):
        yield one if isinstance(one, FewShotError) else _hits(index, query, *next(found))


class _Allowed:
    """Which gallery entries may stand in a query's list, by its camera."""

    def __init__(self, cameras: Sequence[str] | None) -> None:
        self._cameras = None if cameras is None else np.array([_plain(one) for one in cameras])

    def mask(self, camera: str | None) -> Tensor | None:
        """(G,) bool; None for all of them."""
        if self._cameras is None or camera is None:
            return None
        return torch.from_numpy(self._cameras != _plain(camera))


def _plain(camera: str) -> str:
    """Camera 01 is camera 1."""
    return str(int(camera)) if camera.isascii() and camera.isdigit() else camera


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
    rows: Iterator[Tensor], cameras: Sequence[str | None], allowed: _Allowed, k: int
) -> Iterator[tuple[list[float], list[int]]]:
    """Scores and gallery rows of each query's first k."""
    asked = iter(cameras)
    for part in rows:
        for scores in part.cpu():
            mask = allowed.mask(next(asked))
            order = scores.argsort(descending=True, stable=True)
            order = order if mask is None else order[mask[order]]
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
