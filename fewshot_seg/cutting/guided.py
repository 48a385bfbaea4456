"""GrabCut's mask, the map and the image's colours as evidence, brought to the image's edges by a guided filter.

GrabCut forgets how sure the map was, and leaks where colours are alike. Here three things count, as logits that add up:
the map, on which side of GrabCut's cut a pixel lies, and how much oftener its colour is the object's than not. The
guided filter (He, Sun, Tang, "Guided Image Filtering", TPAMI 2013; the form for colour images) makes one smooth
decision of them, whose edges are the image's. The weights are measured: docs/quality.md.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]

_CUT: Final = 2.0  # the logit of GrabCut's decision
_COLOUR: Final = 2.0  # of colours' log ratio,
_MOST: Final = 1.5  # which is cut off here
_BINS: Final = 32  # of each channel
_SPREAD: Final = 1.5  # bins, standard deviation of the histograms' blur
_RADIUS: Final = 6  # pixels of the working size
_STEP: Final = 2  # quarters its time and changes nothing measurable
_SMOOTH: Final = 1e-5  # variance of colours (scale 0..1) from which on there is an edge
_SURE: Final = 1e-3  # probabilities are kept this far from 0 and 1


def join(image: NDArray[np.uint8], map_: Floats, cut: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One decision of a map (h,w) in [0, 1], a cut (h,w) of it, and the image (h,w,3) uint8 RGB: (h,w) bool."""
    sure = map_.clip(_SURE, 1 - _SURE)
    colour = colour_ratio(image, ((map_ + cut) / 2).astype(np.float32)).clip(-_MOST, _MOST)
    logit = np.log(sure / (1 - sure)) + _CUT * (2 * cut.astype(np.float32) - 1) + _COLOUR * colour
    return guided_filter(image, (1 / (1 + np.exp(-logit))).astype(np.float32), _RADIUS, _SMOOTH, _STEP) > 0.5


def colour_ratio(image: NDArray[np.uint8], inside: Floats) -> Floats:
    """(h,w): the logarithm of how much oftener each pixel's colour is inside, by (h,w) in [0, 1], than outside."""
    from scipy.ndimage import gaussian_filter

    levels = image // (256 // _BINS)
    place = np.ravel_multi_index(tuple(levels.astype(np.intp).transpose(2, 0, 1)), (_BINS,) * 3)

    def logarithm(weight: Floats) -> Floats:
        counts = np.bincount(place.ravel(), weight.ravel(), _BINS**3).astype(np.float32).reshape((_BINS,) * 3)
        dense = gaussian_filter(counts, _SPREAD, mode="nearest", truncate=2.0)
        return np.asarray(np.log((dense + dense.mean() / 2 + 1e-9) / (counts.sum() + 1e-6)), np.float32)

    return np.asarray((logarithm(inside) - logarithm(1 - inside)).ravel()[place], np.float32)


def guided_filter(image: NDArray[np.uint8], values: Floats, radius: int, smooth: float, step: int = 1) -> Floats:
    """Values (h,w), near every pixel the linear function of the colour (h,w,3) that fits them best: (h,w) float32.

    Args:
        image: (h,w,3) uint8 RGB.
        values: (h,w) float32.
        radius: pixels to either side that a fit sees.
        smooth: colours that vary less than this (squared, scale 0..1) are one colour.
        step: functions are fitted at this part of the size, and brought to the pixels (He, Sun, "Fast Guided Filter").
    """
    h, w = values.shape
    size = max(1, w // step), max(1, h // step)
    seen, wanted = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (image, values))
    lines = _lines(np.asarray(seen, np.uint8), np.asarray(wanted, np.float32), radius // step, smooth)
    near = cv2.resize(lines, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray((near[..., :3] * (image.astype(np.float32) / 255)).sum(2) + near[..., 3], np.float32)


def _lines(image: NDArray[np.uint8], values: Floats, radius: int, smooth: float) -> Floats:
    """(h,w,4): slopes and offset of the linear functions, averaged over the windows that hold a pixel."""
    channels = [*np.moveaxis(image.astype(np.float32) / 255, 2, 0), values.astype(np.float32)]
    pairs = [(i, j) for i in range(4) for j in range(i, 4)][:9]
    found = _mean(np.dstack([*channels, *(channels[i] * channels[j] for i, j in pairs)]), radius).astype(np.float64)
    mean = np.moveaxis(found, 2, 0)
    a, b, c, x, d, e, y, f, z = (
        mean[4 + place] - mean[i] * mean[j] + smooth * (i == j) for place, (i, j) in enumerate(pairs)
    )
    # The inverse of the symmetric covariance by its cofactors, which for grey images nearly cancel out.
    first, second, third = d * f - e * e, c * e - b * f, b * e - c * d
    mixed = b * c - a * e
    whole = a * first + b * second + c * third
    slope = [
        (first * x + second * y + third * z) / whole,
        (second * x + (a * f - c * c) * y + mixed * z) / whole,
        (third * x + mixed * y + (a * d - b * b) * z) / whole,
    ]
    offset = mean[3] - slope[0] * mean[0] - slope[1] * mean[1] - slope[2] * mean[2]
    return _mean(np.dstack([*slope, offset]).astype(np.float32), radius)


def _mean(values: Floats, radius: int) -> Floats:
    side = 2 * radius + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT), np.float32)
