"""k-reciprocal re-ranking as its authors' code has it (Zhong et al., CVPR 2017): dense N x N matrices, image by image.

It is what `fewshot_seg.reid.rerank` is compared with, and no more; numpy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.floating]


def dense_rerank(queries: _Floats, gallery: _Floats, k1: int = 20, k2: int = 6, own: float = 0.3) -> _Floats:
    """(Q,G) distances of vectors (Q,D) and (G,D), with the inverted index that the authors' code has."""
    features = np.concatenate([queries, gallery])
    original = _distances(features)
    ranks = np.argsort(original, axis=1, kind="stable")
    codes = _codes(original, ranks, k1)
    original = original[: len(queries), len(queries) :]
    if k2 != 1:
        codes = np.stack([codes[ranks[image, :k2]].mean(axis=0) for image in range(len(features))])
    return _jaccard(codes, len(queries)) * (1 - own) + original * own


def _distances(features: _Floats) -> _Floats:
    """(N,N) squared distances, each row divided by its largest."""
    norms = np.square(features).sum(axis=1)
    squared = norms[:, None] + norms - 2 * features @ features.T
    np.fill_diagonal(squared, 0)
    scaled: _Floats = squared / squared.max(axis=1, keepdims=True)
    return scaled


def _codes(original: _Floats, ranks: NDArray[np.int64], k1: int) -> _Floats:
    codes = np.zeros_like(original)
    for image in range(len(original)):
        members = expanded = _reciprocal(ranks, image, k1)
        for candidate in members:
            others = _reciprocal(ranks, candidate, int(np.around(k1 / 2)))
            if len(np.intersect1d(others, members)) > 2 / 3 * len(others):
                expanded = np.append(expanded, others)
        expanded = np.unique(expanded)
        weight = np.exp(-original[image, expanded])
        codes[image, expanded] = weight / weight.sum()
    return codes


def _reciprocal(ranks: NDArray[np.int64], image: int, k: int) -> NDArray[np.int64]:
    forward = ranks[image, : k + 1]
    backward = ranks[forward, : k + 1]
    mutual: NDArray[np.int64] = forward[(backward == image).any(axis=1)]
    return mutual


def _jaccard(codes: _Floats, queries: int) -> _Floats:
    gallery = codes[queries:]
    having = [np.flatnonzero(gallery[:, column]) for column in range(len(codes))]
    distances = np.zeros((queries, len(gallery)), codes.dtype)
    for query in range(queries):
        shared = np.zeros(len(gallery), codes.dtype)
        for column in np.flatnonzero(codes[query]):
            others = having[column]
            shared[others] += np.minimum(codes[query, column], gallery[others, column])
        distances[query] = 1 - shared / (2 - shared)
    return distances
