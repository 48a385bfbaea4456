"""The presence threshold for one's own images: from scores of some that show the thing and some that don't."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fewshot_seg.errors import DataError


class Calibration(NamedTuple):
    """A threshold and what it does to the images that it was set on."""

    threshold: float  # scores from here on count as present, in [0, 1]
    found: float  # the share of images with the thing that are found
    left_empty: float  # the share of images without it that are left empty


def calibrate(with_it: Sequence[float], without_it: Sequence[float]) -> Calibration:
    """The threshold at which the worse of both shares is best: as few misses as false finds.

    Of thresholds that do equally well it is the one in the middle of the widest gap between scores.

    Args:
        with_it: scores in [0, 1] of images that show the thing, at least one.
        without_it: the same of images that don't.

    Raises:
        DataError: no scores of either kind.
    """
    if not with_it or not without_it:
        raise DataError("a threshold needs images with the thing and images without it, at least one of each")
    present, absent = np.sort(np.asarray(with_it, float)), np.sort(np.asarray(without_it, float))
    edges = np.unique(np.concatenate([[0.0], present, absent, [1.0]]))
    middles = (edges[:-1] + edges[1:]) / 2
    found = 1 - np.searchsorted(present, middles) / len(present)
    empty = np.searchsorted(absent, middles) / len(absent)
    best = max(
        range(len(middles)), key=lambda i: (min(found[i], empty[i]), found[i] + empty[i], edges[i + 1] - edges[i])
    )
    return Calibration(float(middles[best]), float(found[best]), float(empty[best]))
