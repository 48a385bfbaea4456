"""Vectors to figures: every query's values, their means with intervals, and the neighbours that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.measures.bootstrap import draws, interval
from eval.retrieval.begin import load_arrays, save_arrays
from eval.retrieval.clustering import k_means, normalized_mutual_information
from eval.retrieval.data import RetrievalImages
from eval.retrieval.metrics import average_precision_at_r, r_precision, rank, recalls
from fewshot_seg.retrieval.exact import QUERIES
from fewshot_seg.streams import Track

SHOWN: Final = 10
"""Neighbours of each query that are kept for a report."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class QueryScores:
    """What is known of each of Q queries.

    Attributes:
        queries: (Q,) int64 places among the run's images.
        recalls: (Q, len(ks)) bool, in the order of the run's K.
        map_at_r, r_precision: (Q,) float64 in [0, 1]; NaN for a query without any of its class in the gallery.
        neighbours: (Q,SHOWN) int64 places of the nearest images, the nearest first; -1 where there is none.
        similarities: (Q,SHOWN) float32, their cosines.
    """

    queries: NDArray[np.int64]
    recalls: NDArray[np.bool_]
    map_at_r: Array
    r_precision: Array
    neighbours: NDArray[np.int64]
    similarities: NDArray[np.float32]


def score_queries(
    vectors: Tensor, images: RetrievalImages, ks: Sequence[int], device: torch.device, track: Track
) -> QueryScores:
    """Rank the gallery for every query.

    `vectors` (I,D) are all images', of unit norm; `ks` the K of R@K.

    Raises:
        DataError: a vector with a number that is not finite.
    """
    on = vectors.to(device)
    gallery, labels = on[images.gallery.to(device)], images.labels.to(device)
    starts = range(0, len(images.queries), QUERIES)
    parts: list[QueryScores] = []
    for start in track(starts, len(starts), "ranking"):
        places, own = images.queries[start : start + QUERIES], images.own[start : start + QUERIES]
        chosen = places.to(device)
        ranking = rank(on[chosen], gallery, labels[chosen], labels[images.gallery.to(device)], own, (*ks, SHOWN))
        rows = ranking.found.rows[:, :SHOWN].cpu()
        near = torch.where(rows >= 0, images.gallery[rows], -1)
        parts.append(
            QueryScores(
                places.numpy(),
                recalls(ranking, ks).cpu().numpy(),
                average_precision_at_r(ranking).cpu().numpy(),
                r_precision(ranking).cpu().numpy(),
                _widened(near.numpy(), -1),
                _widened(ranking.found.scores[:, :SHOWN].cpu().numpy(), -np.inf),
            )
        )
    return QueryScores(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))


def nmi_of(vectors: Tensor, images: RetrievalImages, device: torch.device, track: Track) -> float | None:
    """NMI between classes and k-means clusters of all images that ask or are asked for, as many clusters as classes.

    None where each image is a class of its own: any clustering would agree with that.
    """
    places = torch.tensor(sorted({*images.queries.tolist(), *images.gallery.tolist()}))
    labels = images.labels[places]
    if len(set(labels.tolist())) == len(labels):
        return None
    clusters = k_means(vectors[places].to(device), len(set(labels.tolist())), track=track)
    return normalized_mutual_information(clusters, labels)


def figures_of(scores: QueryScores, ks: Sequence[int], samples: int) -> dict[str, Any]:
    """Means over the queries, with the run's intervals where `samples` is above 0: JSON values.

    Queries without any of their class in the gallery are misses of R@K, and left out of the other two.
    """
    defined = ~np.isnan(scores.map_at_r)
    precise = np.nan_to_num(np.stack([scores.map_at_r, scores.r_precision], axis=1))
    values = np.concatenate([scores.recalls.astype(np.float64), precise], axis=1)  # (Q,K+2)
    weights = np.ones_like(values)
    weights[:, -2:] = defined[:, None]
    figures = _named(ks, _shares(values.sum(0), weights.sum(0)).tolist())
    figures["queries_alone"] = int((~defined).sum())
    if samples:
        figures["intervals"] = _named(ks, _intervals(values, weights, samples))
    return figures


def save_scores(path: Path, scores: QueryScores) -> None:
    """Write them, whole or not at all; errors as `save_arrays`."""
    save_arrays(path, {name: getattr(scores, name) for name in _FIELDS})


def load_scores(path: Path) -> QueryScores:
    """What `save_scores` wrote; errors as `load_arrays`."""
    return load_arrays(path, lambda stored: QueryScores(*(stored[name] for name in _FIELDS)))


_FIELDS: Final = ("queries", "recalls", "map_at_r", "r_precision", "neighbours", "similarities")


def _widened(values: NDArray[Any], fill: float) -> NDArray[Any]:
    """(Q,n) with n up to SHOWN to (Q,SHOWN)."""
    return np.pad(values, ((0, 0), (0, SHOWN - values.shape[1])), constant_values=fill)


def _named(ks: Sequence[int], values: Sequence[Any]) -> dict[str, Any]:
    """One value for each K, then those of MAP@R and R-precision; None for what isn't defined."""
    values = [None if value != value else value for value in values]
    recall = {str(k): value for k, value in zip(ks, values, strict=False)}
    return {"recall": recall, "map_at_r": values[-2], "r_precision": values[-1]}


def _intervals(values: Array, weights: Array, samples: int) -> list[list[float] | None]:
    drawn = [
        _shares(counts.astype(np.float64) @ values, counts.astype(np.float64) @ weights)
        for counts in draws(len(values), samples, seed=0)
    ]
    return [interval(column) for column in np.concatenate(drawn).T]


def _shares(sums: Array, weights: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return sums / weights
