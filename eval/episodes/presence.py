"""Scores that tell what a query shows from what it doesn't: how well, and from which threshold on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auroc(scores: Floats, present: NDArray[np.bool_], weights: Floats | None = None) -> Floats:
    """The probability that a present pair has the higher score than an absent one; a tie counts half.

    Args:
        scores: (P,).
        present: (P,).
        weights: (B,P), how often each pair counts; None means once, B = 1.

    Returns:
        (B,) in [0, 1]; NaN where either kind is missing.
    """
    rows = np.ones((1, len(scores))) if weights is None else weights
    _, ranks = np.unique(scores, return_inverse=True)
    count = int(ranks.max(initial=-1)) + 1
    tall = np.zeros((len(scores), count))
    tall[np.arange(len(scores)), ranks] = 1
    hits, misses = (rows * present) @ tall, (rows * ~present) @ tall  # (B, values)
    below = np.cumsum(misses, axis=1) - misses / 2
    pairs = hits.sum(1) * misses.sum(1)
    undefined = np.full(len(rows), math.nan)
    return np.asarray(np.divide((hits * below).sum(1), pairs, out=undefined, where=pairs > 0))


def best_threshold(scores: Floats, present: NDArray[np.bool_]) -> tuple[float, float]:
    """The threshold from which on a score counts as present that is right most often, and how often.

    Present and absent pairs count alike, however many there are (balanced accuracy). Of equal thresholds the lowest.

    Returns:
        (threshold, accuracy); NaN where either kind is missing.
    """
    values = np.unique(scores)
    if not present.any() or present.all():
        return math.nan, math.nan
    highs, lows = np.sort(scores[present]), np.sort(scores[~present])
    found = 1 - np.searchsorted(highs, values) / len(highs)
    left = np.searchsorted(lows, values) / len(lows)
    best = int(np.argmax(found + left))
    return float(values[best]), float(found[best] + left[best]) / 2
