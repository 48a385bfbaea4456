"""k-reciprocal re-ranking as the paper and its authors' code write it: dense matrices, one image after the other."""

from __future__ import annotations

import numpy as np


def dense_rerank(queries, gallery, k1=20, k2=6, own=0.3):
    """(Q,G) distances of arrays (Q,D) and (G,D); float64 inside. Equal distances are in the images' order."""
    features = np.concatenate([queries, gallery]).astype(np.float64)
    images, number = len(features), len(queries)
    original = np.stack([((features - one) ** 2).sum(axis=1) for one in features])
    largest = original.max(axis=1, keepdims=True)
    original = original / np.where(largest > 0, largest, 1)
    ranks = np.argsort(original, axis=1, kind="stable")

    def reciprocal(image, k):
        forward = ranks[image, : k + 1]
        return forward[(ranks[forward, : k + 1] == image).any(axis=1)]

    weights = np.zeros((images, images))
    for image in range(images):
        first = expanded = reciprocal(image, k1)
        for candidate in first:
            others = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(np.intersect1d(others, first)) > 2 / 3 * len(others):
                expanded = np.append(expanded, others)
        expanded = np.unique(expanded)
        weight = np.exp(-original[image, expanded])
        weights[image, expanded] = weight / weight.sum()
    if k2 != 1:
        weights = np.stack([weights[ranks[image, :k2]].mean(axis=0) for image in range(images)])
    jaccard = np.zeros((number, images - number))
    for query in range(number):
        for place in range(images - number):
            shared = np.minimum(weights[query], weights[number + place]).sum()
            jaccard[query, place] = 1 - shared / (2 - shared)
    return jaccard * (1 - own) + original[:number, number:] * own
