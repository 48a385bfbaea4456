"""Seeds: from an attention map to a trimap, what refinement starts from (paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.imaging.images import resize_map

BACKGROUND = 0
FOREGROUND = 1
PROBABLE_BACKGROUND = 2
PROBABLE_FOREGROUND = 3
"""The values of a trimap; they are cv2's GC_BGD, GC_FGD, GC_PR_BGD and GC_PR_FGD."""

_LEVELS = 255


@dataclass(frozen=True)
class SeedOptions:
    """Where attention becomes seeds. Attention is in [0, 1], its largest value 1.

    Attributes:
        threshold: attention from here on is (at least probable) foreground: "otsu", the value that parts the
            map's own values best, or a number within (0, 1).
        background: below this share of the threshold is sure background, [0, 1]. At 1 none is unknown.
        foreground: this far from the threshold to 1 and beyond is sure foreground, [0, 1]. At 0 none is unknown.

    Raises:
        ConfigError: a value out of its range.
    """

    threshold: float | Literal["otsu"] = "otsu"
    background: float = 0.4
    foreground: float = 0.5

    def __post_init__(self) -> None:
        if self.threshold != "otsu" and (isinstance(self.threshold, str) or not 0 < self.threshold < 1):
            raise ConfigError(f"seed threshold {self.threshold!r}: must be 'otsu' or a number within (0, 1)")
        for name in ("background", "foreground"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"seed {name} {getattr(self, name)!r}: must be a number from 0 to 1")


def threshold_of(attention: NDArray[np.float32], options: SeedOptions) -> float:
    """The attention value, within (0, 1], from which on a position is (at least probable) foreground.

    Attention is (h,w) in [0, 1]; for "otsu" of a map of one single value it is that value.

    Raises:
        ShapeError: not (h,w), or empty.
    """
    if attention.ndim != 2 or attention.size == 0:
        raise ShapeError(f"expected attention of shape (h,w), got {attention.shape}")
    if options.threshold != "otsu":
        return float(options.threshold)
    if attention.max() == attention.min():
        return max(float(attention.max()), 1.0 / _LEVELS)
    levels = (attention.clip(0, 1) * _LEVELS).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, _LEVELS, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return float(level + 1) / _LEVELS  # Otsu's level is the last of the lower part


def trimap(
    attention: NDArray[np.float32], size: tuple[int, int], options: SeedOptions | None = None
) -> NDArray[np.uint8]:
    """Sure and probable foreground and background from one attention map.

    A map of zeros gives sure background alone, a map of one other value probable foreground alone: whether
    there is enough of both to refine is the refiner's business.

    Args:
        attention: (h,w) in [0, 1], as `attention.scale_maps` gives it. ShapeError otherwise.
        size: (H,W) of the trimap.
        options: thresholds; None means the defaults.

    Returns:
        (H,W) uint8 of BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND and PROBABLE_FOREGROUND.
    """
    options = options or SeedOptions()
    threshold = threshold_of(attention, options)
    if attention.min() == attention.max() > 0:
        return np.full(size, PROBABLE_FOREGROUND, np.uint8)
    large = resize_map(attention, size)
    sure = threshold + options.foreground * (1 - threshold)
    seeds = np.full(size, BACKGROUND, np.uint8)
    seeds[large >= options.background * threshold] = PROBABLE_BACKGROUND
    seeds[large >= threshold] = PROBABLE_FOREGROUND
    seeds[large >= sure] = FOREGROUND
    if not attention.any():
        seeds[:] = BACKGROUND
    return seeds


def foreground_of(seeds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Sure and probable foreground of a trimap (H,W), as (H,W) bool."""
    return np.asarray((seeds == FOREGROUND) | (seeds == PROBABLE_FOREGROUND))
