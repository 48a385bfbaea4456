"""Recall at K: is an image of the query's class among its K nearest?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, DataError, ShapeError

__all__ = ["recall_at_k"]

CHUNK = 1024  # queries at once: with 60,000 images that is 250 MB of similarities


def recall_at_k(f: Tensor, labels: Tensor, ks: Sequence[int] = (1, 2, 4, 8), *, chunk: int = CHUNK) -> dict[int, float]:
    """R@K by cosine for each K, every image once the query and all others the gallery.

    The query is left out by its index, not by its rank, so an exact double of it is a fair neighbour. Equal
    similarities count in the query's favour by no more than torch's order of them. A query whose class has no
    other image is a miss, as in the published evaluations.

    Args:
        f: (N,D) unit-norm embeddings, N >= 2.
        labels: (N,) whole numbers.
        ks: values of K, each >= 1; those of N - 1 and more look at the whole gallery.
        chunk: queries at once.

    Returns:
        {K: share of queries in [0, 1]}.

    Raises:
        ShapeError: shapes that don't belong together.
        DataError: fewer than two images.
        ConfigError: a K or chunk below 1, or no K.
    """
    if f.ndim != 2 or labels.shape != f.shape[:1]:
        raise ShapeError(f"expected f (N,D) and labels (N,), got {tuple(f.shape)} and {tuple(labels.shape)}")
    if len(f) < 2:
        raise DataError(f"recall needs at least two images, got {len(f)}")
    if not ks or min(ks) < 1 or chunk < 1:
        raise ConfigError(f"K and chunk must be at least 1, got K {list(ks)}, chunk {chunk}")
    labels = labels.to(f.device)
    depth = min(max(ks), len(f) - 1)
    first = torch.cat([_first_hit(f, labels, start, chunk, depth) for start in range(0, len(f), chunk)])
    return {k: float((first < k).double().mean()) for k in ks}


def _first_hit(f: Tensor, labels: Tensor, start: int, chunk: int, depth: int) -> Tensor:
    """Rank (Q,) from 0 of the first neighbour of the query's class; `depth` or more where there is none."""
    queries = torch.arange(start, min(start + chunk, len(f)), device=f.device)
    similarity = f[queries] @ f.T  # (Q,N)
    similarity[torch.arange(len(queries), device=f.device), queries] = -torch.inf
    nearest = similarity.topk(depth, dim=1).indices  # (Q,depth)
    hits = labels[nearest] == labels[queries, None]  # (Q,depth)
    none = torch.full_like(hits[:, :1], fill_value=True)  # stands after the last rank
    rank = torch.cat([hits, none], dim=1).int().argmax(dim=1)
    return torch.where(rank == depth, torch.iinfo(rank.dtype).max, rank)
