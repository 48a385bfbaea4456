"""LabelMe's shapes as masks."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError
from fewshot_seg.imaging.geometry import draw_outline
from fewshot_seg.imaging.masks import read_mask


def shape_mask(shape: dict[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H,W) bool of one shape: a polygon, rectangle, circle or mask; empty for points and lines, which enclose nothing.

    Raises:
        DataError: an outline that can't be, or a mask beyond the image. ImageError: a mask that is no PNG. LookupError,
        TypeError, ValueError, OverflowError: something is missing, or no number of pixels.
    """
    kind, points = shape.get("shape_type") or "polygon", [(x, y) for x, y in shape["points"]]
    if kind == "mask":
        return _pasted(shape["mask"], points[0], size)
    if kind == "rectangle":
        (left, right), (top, bottom) = ((min(along), max(along)) for along in zip(*points, strict=True))
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif kind == "circle":
        (x, y), edge = points
        radius, turns = math.dist((x, y), edge), np.linspace(0, 2 * math.pi, 90, endpoint=False)
        points = [(float(x + radius * math.cos(turn)), float(y + radius * math.sin(turn))) for turn in turns]
    elif kind != "polygon":
        points = []
    return draw_outline([[number for point in points for number in point]], size)


def _pasted(mask: str, corner: tuple[float, float], size: tuple[int, int]) -> NDArray[np.bool_]:
    part = read_mask(base64.b64decode(mask), max_pixels=size[0] * size[1])
    left, top = (round(number) for number in corner)
    height, width = part.shape
    if not (left >= 0 and left + width <= size[1] and top >= 0 and top + height <= size[0]):
        raise DataError(f"a mask of {width}x{height} at {left}, {top} leaves the image of {size[1]}x{size[0]}")
    whole = np.zeros(size, bool)
    whole[top : top + height, left : left + width] = part
    return whole
