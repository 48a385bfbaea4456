"""Near-duplicates: groups of images that are chained together by high cosines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError
from fewshot_seg.retrieval.vectors import Vectors

CHUNK: Final = 4096
"""Rows compared at a time with as many others: 64 MB of cosines."""


@dataclass(frozen=True)
class Group:
    """Images that are nearly the same.

    Attributes:
        rows: their numbers, rising, at least two. Each has a cosine of at least the threshold to one of the others.
        score: the smallest cosine of one of them to the first.
    """

    rows: tuple[int, ...]
    score: float


def blocks(count: int, chunk: int = CHUNK) -> list[tuple[int, int]]:
    """Where pairs of chunks start, such that every pair of rows is in one."""
    starts = range(0, count, chunk)
    return [(first, second) for first in starts for second in starts if first <= second]


def group_rows(
    vectors: Vectors | NDArray[np.float32],
    threshold: float,
    device: torch.device | str = "cpu",
    chunk: int = CHUNK,
    places: Iterable[tuple[int, int]] | None = None,
) -> list[Group]:
    """Groups of rows with cosines of at least `threshold`, in order of their first row.

    All N * (N - 1) / 2 pairs are looked at, `chunk` times `chunk` at a time; memory doesn't depend on N.

    Args:
        vectors: (N, D) of unit norm.
        threshold: above -1, at most 1. Equal vectors count as equal for 1, too, whatever rounding makes of them.
        device: where to compute.
        chunk: rows at a time.
        places: `blocks`, passed through something that shows progress.

    Raises:
        ConfigError: an impossible threshold.
    """
    if not -1 < threshold <= 1:
        raise ConfigError(f"threshold {threshold}: must be above -1 and at most 1")
    leaders = np.arange(len(vectors))
    for first, second in blocks(len(vectors), chunk) if places is None else places:
        cosines = _on(vectors[first : first + chunk], device) @ _on(vectors[second : second + chunk], device).T
        near = cosines >= threshold - 1e-6  # (C, C'); rounding, which differs between chunks
        if first == second:
            near = near.triu(1)
        pairs = near.nonzero().cpu().numpy()
        _join(leaders, pairs + np.asarray([[first, second]]))
    return [_group(vectors, rows) for rows in _several(leaders)]


def _on(vectors: NDArray[np.float32], device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(vectors).to(device)


def _join(leaders: NDArray[np.int64], pairs: NDArray[np.int64]) -> None:
    """Give both rows of every pair (P, 2), and all that already go with them, the lower one's leader."""
    edges = np.unique(leaders[pairs], axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    if not len(edges):
        return
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(edges.shape)
    graph = coo_array((np.ones(len(edges), bool), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    component = connected_components(graph, directed=False)[1]
    lowest = np.full(component.max() + 1, len(leaders))
    np.minimum.at(lowest, component, names)
    renamed = np.arange(len(leaders))
    renamed[names] = lowest[component]
    leaders[:] = renamed[leaders]


def _several(leaders: NDArray[np.int64]) -> Iterator[Sequence[int]]:
    order = np.argsort(leaders, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(leaders[order])) + 1):
        if len(rows) > 1:
            yield rows.tolist()


def _group(vectors: Vectors | NDArray[np.float32], rows: Sequence[int]) -> Group:
    first = vectors[rows[0]].astype(np.float64)
    lowest = min(
        float((vectors[part].astype(np.float64) @ first).min()) for part in np.array_split(rows, len(rows) // CHUNK + 1)
    )
    return Group(tuple(rows), min(lowest, 1.0))
