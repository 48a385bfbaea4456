"""Whether it is told apart what a query shows and what it doesn't: by scores, and by masks that are left empty."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.episodes.counts import RunCounts
from eval.measures.bootstrap import draws, interval, number_groups

__all__ = ["auroc", "best_threshold", "presence_figures"]

_NOTHING: Final = {"auroc": None, "best_threshold": None, "best_accuracy": None}

Floats = NDArray[np.float64]


def presence_figures(counts: RunCounts, method: str, samples: int = 0, seed: int = 0) -> dict[str, Any]:
    """How (episode, class) pairs that the query holds are told from those that it lacks.

    Args:
        counts: of the run.
        method: one of its methods.
        samples: resamples of the query images for the interval; 0 gives none.
        seed: of these.

    Returns:
        "present", "absent": how many there are. Of the masks: "present_found" and "absent_left_empty", the shares
        that are so, and "accuracy", the mean of the two. Of the scores, where the method gives any: "auroc" with
        "auroc_interval", and "best_threshold" with "best_accuracy", see `best_threshold`, chosen on these very pairs.
        None for what is undefined.
    """
    present = counts.present(method)  # (E, N)
    absent = (counts.labels > 0) & ~present
    told = counts.confusion[method].sum(1)[:, 1:] > 0
    found, left = _share(told, present), _share(~told, absent)
    figures: dict[str, Any] = {
        "present": int(present.sum()),
        "absent": int(absent.sum()),
        "present_found": _plain(found),
        "absent_left_empty": _plain(left),
        "accuracy": _plain((found + left) / 2),
    }
    return figures | _of_scores(counts, method, present, samples, seed)


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


def _of_scores(counts: RunCounts, method: str, present: NDArray[np.bool_], samples: int, seed: int) -> dict[str, Any]:
    if method not in counts.scores:
        return {}
    episodes, ways = np.nonzero(counts.labels)
    scores, shown = counts.scores[method][episodes, ways], present[episodes, ways]
    if shown.all() or not shown.any() or np.isnan(scores).any():
        return dict(_NOTHING)
    threshold, accuracy = best_threshold(scores, shown)
    figures = {
        "auroc": float(auroc(scores, shown)[0]),
        "best_threshold": threshold,
        "best_accuracy": accuracy,
    }
    if not samples:
        return figures
    groups = number_groups(counts.queries)[episodes]  # (P,)
    drawn = [
        auroc(scores, shown, weights[:, groups].astype(np.float64))
        for weights in draws(int(groups.max()) + 1, samples, seed)
    ]
    return figures | {"auroc_interval": interval(np.concatenate(drawn))}


def _share(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float((hits & of).sum() / of.sum()) if of.any() else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
