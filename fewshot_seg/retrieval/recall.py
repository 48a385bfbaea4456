"""Nearest neighbours with the query itself left out, and recall at K: is one of its class among its K nearest?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, DataError, ShapeError
from fewshot_seg.retrieval.exact import QUERIES, TopK, top_k


def nearest_others(queries: Tensor, gallery: Tensor, own: Tensor, k: int, *, chunk: int = QUERIES) -> TopK:
    """The k nearest of the gallery for each query, the query's own row left out.

    It is left out by its row, not by its rank, so an exact double of it is a fair neighbour. Of equal similarities
    the lower row comes first (see `exact.top_k`).

    Args:
        queries: (Q,D) unit-norm vectors.
        gallery: (N,D) of the same embedder.
        own: (Q,) int64, each query's own row in the gallery; -1 for one that isn't in it.
        k: how many, >= 1; of more than there are, those that there are.
        chunk: queries at once.

    Returns:
        (Q, min(k, N)) scores and rows, or one fewer where every query is in a gallery of N <= k. Where only some
        are, the last place of those is empty: row -1, score -inf.

    Raises:
        ShapeError, ConfigError, DataError: as `exact.top_k`.
    """
    if own.shape != queries.shape[:1]:
        raise ShapeError(f"expected one own row for each of {len(queries)} queries, got {tuple(own.shape)}")
    found = top_k(queries, gallery, k + 1, queries_at_once=chunk)
    own = own.to(found.rows.device)
    itself = found.rows == own[:, None]  # (Q,k+1)
    # A stable sort of 0s and 1s: the own row goes last, the others keep their order.
    order = itself.byte().argsort(dim=1, stable=True)
    rows, scores = found.rows.gather(1, order), found.scores.gather(1, order)
    gone = itself.gather(1, order)
    rows, scores = rows.masked_fill(gone, -1), scores.masked_fill(gone, -torch.inf)
    width = min(k, len(gallery) - int(bool((own >= 0).all())))
    return TopK(scores[:, :width], rows[:, :width])


def first_hits(hits: Tensor) -> Tensor:
    """Rank (Q,) from 0 of each query's first True in (Q,k); the largest int64 where there is none."""
    nowhere = torch.iinfo(torch.int64).max
    ranks = torch.arange(hits.shape[1], device=hits.device).expand(hits.shape)
    beyond = ranks.new_full((len(hits), 1), nowhere)
    return torch.cat([torch.where(hits, ranks, nowhere), beyond], dim=1).amin(dim=1)


def recall_at_k(
    f: Tensor, labels: Tensor, ks: Sequence[int] = (1, 2, 4, 8), *, chunk: int = QUERIES
) -> dict[int, float]:
    """R@K by cosine for each K, every image once the query and all others the gallery.

    Which neighbours those are, ties included, is `nearest_others`. A query whose class has no other image is a
    miss, as in the published evaluations.

    Args:
        f: (N,D) unit-norm embeddings, N >= 2.
        labels: (N,) whole numbers.
        ks: values of K, each >= 1; those of N - 1 and more look at the whole gallery.
        chunk: queries at once.

    Returns:
        {K: share of queries in [0, 1]}.

    Raises:
        ShapeError: shapes that don't belong together.
        DataError: fewer than two images, or a number that is not finite.
        ConfigError: a K or chunk below 1, or no K.
    """
    if f.ndim != 2 or labels.shape != f.shape[:1]:
        raise ShapeError(f"expected f (N,D) and labels (N,), got {tuple(f.shape)} and {tuple(labels.shape)}")
    if len(f) < 2:
        raise DataError(f"recall needs at least two images, got {len(f)}")
    if not ks or min(ks) < 1 or chunk < 1:
        raise ConfigError(f"K and chunk must be at least 1, got K {list(ks)}, chunk {chunk}")
    labels = labels.to(f.device)
    found = nearest_others(f, f, torch.arange(len(f)), max(ks), chunk=chunk)
    first = first_hits(labels[found.rows] == labels[:, None])
    return {k: float((first < k).double().mean()) for k in ks}
