"""From ranked neighbours to R@K, MAP@R and R-precision: pure functions of tensors, a value for each query.

R is the number of gallery images of the query's class, the query itself left out. Recall at K asks whether one of them
is among the K nearest; R-precision is their share among the R nearest; MAP@R (Musgrave et al., "A Metric Learning
Reality Check", ECCV 2020) is the mean over the R nearest of the precision up to each that is of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.retrieval.exact import QUERIES, TopK
from fewshot_seg.retrieval.recall import first_hits, nearest_others


@dataclass(frozen=True)
class Ranking:
    """The nearest gallery images of Q queries.

    Attributes:
        found: their (Q,k) scores and rows, as `retrieval.recall.nearest_others` gives them.
        hits: (Q,k) bool, whether each is of its query's class.
        relevant: (Q,) int64, R: how many of the whole gallery are, the query itself left out.
    """

    found: TopK
    hits: Tensor
    relevant: Tensor


def rank(
    queries: Tensor,
    gallery: Tensor,
    query_labels: Tensor,
    gallery_labels: Tensor,
    own: Tensor,
    ks: Sequence[int],
    *,
    chunk: int = QUERIES,
) -> Ranking:
    """Rank the gallery as deep as R@K and MAP@R need it.

    Args:
        queries: (Q,D) unit-norm vectors.
        gallery: (N,D) of the same embedder.
        query_labels: (Q,) whole numbers.
        gallery_labels: (N,) whole numbers; equal numbers are the same class.
        own: (Q,) int64, each query's own row in the gallery, which is left out; -1 for one that isn't in it.
        ks: values of K, each >= 1.
        chunk: queries at once.

    Raises:
        ShapeError: shapes that don't belong together. ConfigError: no K, or one below 1.
        DataError: a number that is not finite.
    """
    if query_labels.shape != queries.shape[:1] or gallery_labels.shape != gallery.shape[:1]:
        raise ShapeError(
            f"expected as many labels as vectors, got {len(query_labels)} for {len(queries)} queries and "
            f"{len(gallery_labels)} for {len(gallery)} of the gallery"
        )
    if not ks or min(ks) < 1:
        raise ConfigError(f"K must be at least 1, got {list(ks)}")
    query_labels, gallery_labels = query_labels.to(queries.device), gallery_labels.to(queries.device)
    relevant = relevant_of(query_labels, gallery_labels, own.to(queries.device))
    depth = max(*ks, int(relevant.max()) if len(relevant) else 1)
    found = nearest_others(queries, gallery, own, depth, chunk=chunk)
    hits = (gallery_labels[found.rows] == query_labels[:, None]) & (found.rows >= 0)
    return Ranking(found, hits, relevant)


def relevant_of(query_labels: Tensor, gallery_labels: Tensor, own: Tensor) -> Tensor:
    """R of each query (Q,) int64; arguments as `rank` takes them."""
    labels = torch.cat([query_labels, gallery_labels])
    place: Tensor = torch.unique(labels, return_inverse=True)[1]
    counts = place[len(query_labels) :].bincount(minlength=len(labels))  # gallery images of each class
    return counts[place[: len(query_labels)]] - (own >= 0).long()


def recalls(ranking: Ranking, ks: Sequence[int]) -> Tensor:
    """(Q, len(ks)) bool: whether one of the class is among the K nearest. Without any in the gallery it is a miss."""
    first = first_hits(ranking.hits)  # (Q,)
    return first[:, None] < torch.tensor(list(ks), device=first.device)


def average_precision_at_r(ranking: Ranking) -> Tensor:
    """MAP@R's values (Q,) float64 in [0, 1]; NaN for a query without any of its class in the gallery."""
    within = _within(ranking)  # (Q,k)
    precision = within.double().cumsum(1) / torch.arange(1, within.shape[1] + 1, device=within.device)
    return (precision * within).sum(1) / _defined(ranking.relevant)


def r_precision(ranking: Ranking) -> Tensor:
    """R-precision (Q,) float64 in [0, 1]; NaN for a query without any of its class in the gallery."""
    return _within(ranking).sum(1).double() / _defined(ranking.relevant)


def _within(ranking: Ranking) -> Tensor:
    """The hits (Q,k) among each query's first R."""
    places = torch.arange(ranking.hits.shape[1], device=ranking.hits.device)
    return ranking.hits & (places < ranking.relevant[:, None])


def _defined(relevant: Tensor) -> Tensor:
    return relevant.double().masked_fill(relevant == 0, torch.nan)
