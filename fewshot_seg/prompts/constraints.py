"""Marks: what is known of an image's pixels, and how it enters the matching, the seeds and the mask.

They enter the matching as what is known on the map's grid (`prior_on_grid`), the map that comes of it
(`apply_to_map`), the trimap as sure seeds (`apply_to_trimap`), and hold in the mask (`apply_to_mask`).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND

# Measured on development images, on a grid of 24 x 24 (`fewshot-eval hints` shows what hints are worth).
_FULL_SHARE = 0.05  # strokes that cover this share of a cell settle it
_INSIDE_BOX = 0.4  # how much it counts as known that a box's inside is object
_NEAR = 0.8  # how much strokes say of the cells beside them
_REACH = 1 / 12  # of what they say so: a standard deviation, in lengths of the image's sides


class Constraints(NamedTuple):
    """What a hint says of an image's pixels, native size: (H,W) bool each."""

    foreground: NDArray[np.bool_]  # the object for sure
    background: NDArray[np.bool_]  # not the object for sure; never where the foreground is
    inside: NDArray[np.bool_] | None = None  # where the object may be and probably is; None where no box says so

    @property
    def complete(self) -> bool:
        """Whether every pixel is said to be the object or not, as a mask does."""
        return bool((self.foreground | self.background).all())

    @property
    def says_present(self) -> bool:
        """Whether the object is in the image for sure: some of it is marked, or there is a box around it."""
        return self.inside is not None or bool(self.foreground.any())


def prior_on_grid(constraints: Constraints, grid: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is known of each of (h,w) cells: what `matching.Prior` holds for a batch.

    Strokes and points settle their cells, and say something of those around: an object seldom ends right beside
    where it was marked. A cell on a box's edge may be object as those within.

    Returns:
        foreground: (h,w) float32 in [0, 1], the share of what is known that is object.
        where: (h,w) float32 in [0, 1], how much it counts; 0 where nothing is known.
    """
    inside = np.ones_like(constraints.foreground) if constraints.inside is None else constraints.inside
    foreground, background = share_of(constraints.foreground, grid), share_of(constraints.background & inside, grid)
    total = foreground + background
    strokes = np.minimum(total / _FULL_SHARE, 1)
    within = share_of(inside, grid)
    outside = (1 - 2 * within).clip(0, 1) * (1 - strokes)
    near_object, near_other = _nearness(foreground > 0), _nearness(background > 0)
    near = _NEAR * np.maximum(near_object, near_other) * (1 - strokes - outside)
    probably = 0.0 if constraints.inside is None else _INSIDE_BOX * within * (1 - strokes - outside - near)
    where = strokes + outside + near + probably
    object_there = (
        strokes * foreground / np.maximum(total, 1e-6)
        + near * near_object / np.maximum(near_object + near_other, 1e-6)
        + probably
    )
    share = object_there / np.maximum(where, 1e-6)
    return share.clip(0, 1).astype(np.float32), where.clip(0, 1).astype(np.float32)


def apply_to_map(map_: NDArray[np.float32], constraints: Constraints) -> NDArray[np.float32]:
    """A map (h,w) in [0, 1] of where the object is, brought towards what is known: (h,w) float32."""
    foreground, where = prior_on_grid(constraints, (map_.shape[0], map_.shape[1]))
    return np.asarray(map_ + where * (foreground - map_), dtype=np.float32)


def apply_to_trimap(seeds: NDArray[np.uint8], constraints: Constraints) -> NDArray[np.uint8]:
    """A trimap (h,w), at any size, in which what is marked is sure: (h,w) uint8, another array."""
    size = seeds.shape[0], seeds.shape[1]
    foreground, background = share_of(constraints.foreground, size), share_of(constraints.background, size)
    constrained = seeds.copy()
    constrained[(seeds == FOREGROUND) & (background > 0)] = PROBABLE_FOREGROUND
    constrained[(seeds == BACKGROUND) & (foreground > 0)] = PROBABLE_BACKGROUND
    constrained[(background > 0) & (background >= foreground)] = BACKGROUND
    constrained[foreground > background] = FOREGROUND
    return constrained


def apply_to_mask(mask: NDArray[np.bool_], constraints: Constraints) -> NDArray[np.bool_]:
    """A mask (H,W) of the image's size in which what is marked holds, pixel for pixel."""
    return np.asarray((mask | constraints.foreground) & ~constraints.background)


def share_of(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each of (h,w) cells that a mask (H,W) covers: (h,w) float32 in [0, 1]."""
    share = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(share, dtype=np.float32)


def _nearness(marked: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(h,w) in [0, 1]: 1 in marked cells, less the farther from the nearest, as a Gaussian; 0 where none is marked."""
    h, w = marked.shape
    down, across = (
        np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / (_REACH * n)) ** 2).astype(np.float32) for n in (h, w)
    )
    columns = (down[:, :, None] * marked).max(1)  # (h,w): the best of each column
    return np.asarray((columns[:, None] * across).max(2))
