"""Matting: how much of each pixel around a mask's edge is the object's, and of which colour its part of the pixel is.

Alpha is the mask's, seen through a guided filter in a band around its edge, which hair and fur are in. The colours are
estimated by blurring what is surely the object's and what is surely not into the band (Forte, "Approximate Fast
Foreground Colour Estimation", ICIP 2021): a cut-out then carries no halo of the old background.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.guided import guided_filter
from fewshot_seg.errors import ShapeError

_BAND: Final = 0.006  # of the image's diagonal, to either side of the edge
_SMOOTH: Final = 1e-5  # variance of colours (scale 0..1)
_CLEAN: Final = 0.06  # alpha this near 0 and 1 is 0 and 1
_ROUNDS: Final = (4.0, 0.5)  # widths of the colours' blurs, in bands


def cut_out(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An image (H,W,3) uint8 RGB and a mask (H,W) of it to (H,W,4) uint8 RGBA, alpha not premultiplied.

    Far from the mask's edge alpha is 0 or 255, and the colours are the image's.

    Raises:
        ShapeError: not such shapes.
    """
    if image.ndim != 3 or image.shape != (*mask.shape, 3):
        raise ShapeError(f"an image of shape {image.shape} and a mask of shape {mask.shape} don't belong together")
    alpha = alpha_of(image, mask)
    colours = _object_colours(image, alpha)
    return np.dstack([colours, np.rint(alpha * 255).astype(np.uint8)])


def alpha_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H,W) float32 in [0, 1]: how much of each pixel of an image (H,W,3) is the object's, by a mask (H,W) of it."""
    inside = mask.astype(np.float32)
    if mask.all() or not mask.any():
        return inside
    width = _band(mask.shape)
    inner, outer = (cv2.distanceTransform(one.astype(np.uint8), cv2.DIST_L2, 3) for one in (mask, ~mask))
    soft = guided_filter(image, inside, width, _SMOOTH, step=1 if width < 16 else width // 8)
    soft = ((soft - _CLEAN) / (1 - 2 * _CLEAN)).clip(0, 1)
    return np.where(np.maximum(inner, outer) <= width, soft, inside).astype(np.float32)


def _object_colours(image: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H,W,3) uint8: the image's colours where alpha is 0 or 1, else those of the object's part."""
    edge = (alpha > 0) & (alpha < 1)
    if not edge.any():
        return image
    pixels, share = image.astype(np.float32), alpha[..., None]
    objects = others = pixels
    for rounds in _ROUNDS:
        side = 2 * max(1, round(rounds * _band(alpha.shape))) + 1
        inside, outside = (cv2.blur(one, (side, side)) for one in (alpha, 1 - alpha))
        objects = cv2.blur(objects * share, (side, side)) / (inside[..., None] + 1e-5)
        others = cv2.blur(others * (1 - share), (side, side)) / (outside[..., None] + 1e-5)
        objects = (objects + share * (pixels - share * objects - (1 - share) * others)).clip(0, 255)
    return np.where(edge[..., None], np.rint(objects), pixels).astype(np.uint8)


def _band(size: tuple[int, ...]) -> int:
    return max(2, round(_BAND * math.hypot(*size)))
