"""Masks as polygons: along the edges of pixels, simplified, with their holes; and as one ring where a format has none.

Coordinates are continuous: pixel (x, y) covers x to x + 1 and y to y + 1, so a polygon's area is the mask's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, ShapeError

TOLERANCE: Final = 1.0
"""Pixels by which a simplified outline may leave the edge of the mask."""
_LOST: Final = 0.015  # of a part's area for each pixel of tolerance: small and thin parts are simplified less
_LEAST: Final = 0.5  # half pixels: less changes nothing

Ring = NDArray[np.float64]
"""(N,2): x and y of the corners, the last joined to the first."""


class Polygon(NamedTuple):
    """One connected part of a mask; the holes run round the other way."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


def check_tolerance(tolerance: float) -> float:
    """Itself. ConfigError: below 0, or no finite number."""
    if not 0 <= tolerance < float("inf"):
        raise ConfigError(f"tolerance {tolerance}: must be pixels from 0 up")
    return tolerance


def polygons_of(mask: NDArray[np.bool_], tolerance: float = TOLERANCE) -> list[Polygon]:
    """The parts of an (H,W) mask, the uppermost first; none of an empty mask. Parts that touch at a corner are one.

    Args:
        mask: (H,W) bool.
        tolerance: pixels by which the outline may leave the mask's edge (Douglas and Peucker's method), at most: less
            where more than 1.5 % of a part's area, for each pixel of tolerance, would change. 0 only leaves out points
            on straight lines.

    Raises:
        ShapeError: not (H,W).
    """
    import cv2

    if mask.ndim != 2:
        raise ShapeError(f"expected a mask of shape (H,W), got {mask.shape}")
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if not width:
        return []
    # Twice as fine, a pixel in each odd cell: grown by a cell, its border runs along the edges between pixels.
    fine = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    fine[1::2, 1::2] = mask[top : top + height, left : left + width]
    fine = np.asarray(cv2.dilate(fine, np.ones((3, 3), np.uint8)), np.uint8)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    rings = [_simplified(contour, tolerance) / 2 + (left, top) for contour in contours]
    holes: dict[int, list[Ring]] = {}
    for ring, (_, _, _, parent) in zip(rings, hierarchy[0], strict=True):
        holes.setdefault(int(parent), []).append(ring)
    outer = [place for place, (_, _, _, parent) in enumerate(hierarchy[0]) if parent < 0]
    found = [Polygon(rings[place], tuple(holes.get(place, ()))) for place in outer]
    return sorted(found, key=lambda one: (one.outer[:, 1].min(), one.outer[:, 0].min()))


def one_ring(polygons: Sequence[Polygon]) -> Ring:
    """All parts and holes as a single ring: there and back along lines of no width, from the nearest corners."""
    parts = [_joined(polygon.outer, polygon.holes) for polygon in polygons]
    return _joined(parts[0], parts[1:])


def _joined(ring: Ring, others: Sequence[Ring]) -> Ring:
    """The ring, going round each of the others where it comes nearest to it."""
    from scipy.spatial import cKDTree

    tree = cKDTree(ring)
    detours: dict[int, list[Ring]] = {}
    for other in others:
        distances, nearest = tree.query(other)
        there = int(np.argmin(distances))
        here = int(nearest[there])
        detours.setdefault(here, []).append(np.concatenate([other[there:], other[: there + 1], ring[here : here + 1]]))
    pieces, start = [], 0
    for here, found in sorted(detours.items()):
        pieces += [ring[start : here + 1], *found]
        start = here + 1
    return np.concatenate([*pieces, ring[start:]])


def _simplified(contour: NDArray[Any], tolerance: float) -> Ring:
    """(N,2), N >= 3, in the contour's own cells of half a pixel."""
    import cv2

    whole = _filled(contour, contour)
    most = _LOST * tolerance * np.count_nonzero(whole)
    tolerance *= 2
    while tolerance >= _LEAST:
        found = cv2.approxPolyDP(contour, tolerance, True)
        if len(found) >= 3 and np.count_nonzero(whole != _filled(found, contour)) <= most:
            break
        tolerance /= 2
    else:
        found = cv2.approxPolyDP(contour, 0, True)
    return np.asarray(found[:, 0], np.float64)


def _filled(ring: NDArray[Any], frame: NDArray[Any]) -> NDArray[np.uint8]:
    """What a ring encloses, in the box of another."""
    import cv2

    left, top, width, height = cv2.boundingRect(frame)
    return np.asarray(cv2.fillPoly(np.zeros((height, width), np.uint8), [ring], 1, offset=(-left, -top)), np.uint8)
