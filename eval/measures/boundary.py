"""Boundary F (Perazzi et al., "A Benchmark Dataset for Video Object Segmentation", CVPR 2016): do outlines agree?

Outline pixels of one mask that have an outline pixel of the other within a tolerance are matched; precision is
the prediction's matched share, recall the truth's, F their harmonic mean. DAVIS has no void pixels. Here the
true outline runs along the object's side of a void border, and a predicted outline within void is right: to cut
void out of both masks first would give every prediction that covers an object the object's own outline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.0075
"""Of the image's diagonal, as DAVIS has it."""


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool: pixels that differ from their right, lower or lower right neighbour.

    The image's edge is no outline, but for where the mask's own outline runs into it.
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def boundary_counts(
    prediction: NDArray[Any], truth: NDArray[Any], ways: int, tolerance: float = TOLERANCE
) -> NDArray[np.int64]:
    """What an episode's outlines have in common.

    Args:
        prediction: (H, W) integers 0..ways.
        truth: (H, W) integers 0..ways, or below 0 where nothing counts.
        ways: number of classes.
        tolerance: share of the diagonal; rounded up to whole pixels.

    Returns:
        (ways, 4) int64 of each class: matched and all outline pixels of the prediction, then of the truth.
    """
    disk = _disk(math.ceil(tolerance * math.hypot(*truth.shape)))
    void = truth < 0
    counts = np.zeros((ways, 4), np.int64)
    for place in range(ways):
        ours, theirs = (outline(one == place + 1) for one in (prediction, truth))
        near_ours, near_theirs = (cv2.dilate(one.astype(np.uint8), disk) > 0 for one in (ours, theirs))
        pixels = (ours & (near_theirs | void), ours, theirs & near_ours, theirs)
        counts[place] = [int(one.sum()) for one in pixels]
    return counts


def boundary_f(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """F in [0, 1] from (..., 4) counts, (...); NaN where neither has an outline, 0 where one of them has none."""
    own, all_own, their, all_their = (counts[..., place].astype(np.float64) for place in range(4))
    precision = np.divide(own, all_own, out=np.zeros_like(own), where=all_own > 0)
    recall = np.divide(their, all_their, out=np.zeros_like(their), where=all_their > 0)
    both = precision + recall
    score = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return np.asarray(np.where((all_own == 0) & (all_their == 0), np.nan, score))


def _disk(radius: int) -> NDArray[np.uint8]:
    """(2r + 1, 2r + 1) uint8: 1 within `radius` of the centre."""
    span: Sequence[int] = range(-radius, radius + 1)
    squares = np.square(np.array(span))
    return np.asarray(squares[:, None] + squares[None] <= radius * radius, np.uint8)
