"""Instances: the things of one class that a mask holds, one by one.

Parts that don't touch are things of their own, but for specks. A part falls into several where it is only held together
by necks much thinner than what they join, as two coins that touch; a head on its shoulders is too small for a thing.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ShapeError

_SPECK: Final = 0.05  # of the largest thing's area: less is a crumb of the mask
_FEWEST: Final = 16  # pixels of a thing
_NECK: Final = 0.6  # a neck's width, of the thinner thing that it joins, at most
_SHARE: Final = 0.2  # of an even share of the part's area, that each thing has at least
_STEPS: Final = 12  # widths of necks that are tried
_MOST_THINGS: Final = 1000
_SIDE: Final = 512  # pixels, longer side of a part while its necks are looked for
_MOST: Final = 100  # cores of one part: more are a rough edge, not things


def instances_of(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The things that a mask (H,W) holds: masks (H,W) that don't overlap, the largest first.

    They cover the mask but for specks; an empty mask holds none.

    Raises:
        ShapeError: not (H,W).
    """
    if mask.ndim != 2:
        raise ShapeError(f"expected a mask of shape (H,W), got {mask.shape}")
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    largest = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:_MOST_THINGS] + 1
    for number in largest[stats[largest, cv2.CC_STAT_AREA] >= _FEWEST]:
        x, y, w, h, _ = (int(value) for value in stats[number])
        box = (slice(y, y + h), slice(x, x + w))
        for thing in _split(labels[box] == number):
            whole = np.zeros(mask.shape, bool)
            whole[box] = thing
            found.append((int(thing.sum()), y, x, whole))
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    least = max(_FEWEST, _SPECK * found[0][0]) if found else 0
    return [whole for area, _, _, whole in found if area >= least]


def _split(part: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """A connected part (h,w), cut through its necks, which are looked for at a working size."""
    height, width = part.shape
    scale = min(1.0, _SIDE / max(part.shape))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(part.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8)
    owner = _owners(small)
    if owner is None:
        return [part]
    large = cv2.resize(owner, (width, height), interpolation=cv2.INTER_NEAREST)
    return [(large == place) & part for place in range(int(owner.max()) + 1)]


def _owners(part: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """(h,w): which thing each pixel of a part belongs to, from 0; None where it is one thing."""
    depth = cv2.distanceTransform(np.pad(part, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    for radius in np.linspace(0, _NECK, _STEPS + 1)[1:] * float(depth.max()):
        count, cores = cv2.connectedComponents((depth > radius).astype(np.uint8), connectivity=8)
        if not 3 <= count <= _MOST:
            continue
        peaks = np.zeros(count, np.float32)
        np.maximum.at(peaks, cores, depth)
        kept = [number for number in range(1, count) if peaks[number] * _NECK >= radius]
        if len(kept) < 2:
            continue
        owner = _nearest(cores, kept)
        areas = np.bincount(owner[part > 0], minlength=len(kept))
        if (areas >= _SHARE * areas.sum() / len(kept)).all():
            return owner
    return None


def _nearest(cores: NDArray[np.int32], kept: list[int]) -> NDArray[np.uint8]:
    """(h,w): the place in `kept` of the core that is nearest to each pixel."""
    distances = [
        cv2.distanceTransform((cores != number).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for number in kept
    ]
    return np.asarray(np.argmin(distances, 0), np.uint8)
