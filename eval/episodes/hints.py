"""Hints as a user would give them, made from true masks: what a box, points or a scribble are worth is measured so.

Everything is a pure function of the mask: the same mask, the same hint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fewshot_seg.prompts.hints import Hint

_OBJECT_POINTS = 2
_BACKGROUND_POINTS = 2
_STROKE = 0.006  # its radius, in lengths of the longer side
_KEEP_OFF = 0.04  # how far from the object its surroundings are marked, in the same
_AVOID = 0.15  # how far apart points are, in the same


def make_hint(kind: str, mask: NDArray[np.bool_], void: NDArray[np.bool_]) -> Hint:
    """A hint of one kind.

    Args:
        kind: one of `HINTS`.
        mask: (H,W) bool, the object; at least one True.
        void: (H,W) bool, where it isn't known what is the object; nothing there is marked as background.
    """
    from fewshot_seg.prompts.hints import Hint

    return Hint(**HINTS[kind](mask, void))


def _mask(mask: NDArray[np.bool_], void: NDArray[np.bool_]) -> dict[str, Any]:
    return {"mask": mask}


def _box(mask: NDArray[np.bool_], void: NDArray[np.bool_]) -> dict[str, Any]:
    """The smallest box around all of it."""
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    return {"box": (x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y)}


def _point(mask: NDArray[np.bool_], void: NDArray[np.bool_]) -> dict[str, Any]:
    """One click on the object, where it is widest."""
    return {"points": _deepest(mask, 1, is_object=True)}


def _points(mask: NDArray[np.bool_], void: NDArray[np.bool_]) -> dict[str, Any]:
    """Two clicks on the object and two beside it, each where there is most room, away from the others."""
    outside = ~(mask | void)
    points = _deepest(mask, _OBJECT_POINTS, is_object=True)
    return {"points": points + _deepest(outside, _BACKGROUND_POINTS, is_object=False)}


def _scribble(mask: NDArray[np.bool_], void: NDArray[np.bool_]) -> dict[str, Any]:
    """Strokes along the middle of each of its parts, and strokes around it, some way off: labels 1 and 2."""
    longer = max(mask.shape)
    strokes = np.zeros(mask.shape, np.uint8)
    around = _distance(~(mask | void))
    ring = (around > _KEEP_OFF * longer) & (around <= (_KEEP_OFF + 2 * _STROKE) * longer)
    strokes[ring] = 2
    strokes[_thick(_spine(mask), _STROKE * longer) & mask] = 1
    return {"scribble": strokes}


HINTS: Mapping[str, Callable[[NDArray[np.bool_], NDArray[np.bool_]], dict[str, Any]]] = {
    "mask": _mask,
    "box": _box,
    "point": _point,
    "points": _points,
    "scribble": _scribble,
}
"""The kinds: `point` is one click, `points` two on the object and two beside it."""


def _deepest(region: NDArray[np.bool_], count: int, *, is_object: bool) -> list[tuple[float, float, bool]]:
    """Up to `count` points (x, y, is_object) of a region, each farthest from its edge, away from those before."""
    depth = _distance(region)
    rows, columns = np.mgrid[: region.shape[0], : region.shape[1]]
    points: list[tuple[float, float, bool]] = []
    while len(points) < count and depth.max() > 0:
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((float(x), float(y), is_object))
        depth[np.hypot(columns - x, rows - y) < _AVOID * max(region.shape)] = 0
    return points


def _spine(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The ridge of the distance from the edge, where it is at least half of its part's largest."""
    from skimage.morphology import skeletonize

    depth = _distance(mask)
    count, parts = cv2.connectedComponents(mask.astype(np.uint8))
    deepest = np.asarray([depth[parts == part].max() for part in range(count)])
    lines = np.asarray(skeletonize(mask))  # type: ignore[no-untyped-call]
    return np.asarray(lines & (depth >= deepest[parts] / 2))


def _thick(lines: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    side = 2 * max(0, round(radius)) + 1
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(lines.astype(np.uint8), brush) > 0)


def _distance(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H,W) float32: how far each pixel of a region is from its edge; the image's border is one too."""
    padded = np.pad(region.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], dtype=np.float32)
