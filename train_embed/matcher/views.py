"""Views of an image: whole, mirrored, and random parts of it. Pure functions of (number of the image, of the view)."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

WHOLE = 0
"""The number of the view that is the image as it is."""

_MIRRORED = 1
_SIDES = (0.5, 0.95)  # a part's sides, as shares of the image's
_SEED = 0  # its own, so that features are made once for all trainings

Scalar = TypeVar("Scalar", bound=np.generic)


class Window(NamedTuple):
    """A part of an image, in pixels, perhaps to be mirrored."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


def window(number: int, view: int, size: tuple[int, int]) -> Window:
    """The part of image `number`, of `size` (H, W), that a view shows.

    View 0 is the whole image, 1 the same mirrored; from 2 on they are random parts, half of them mirrored.
    """
    height, width = size
    if view <= _MIRRORED:
        return Window(0, 0, height, width, view == _MIRRORED)
    rng = np.random.default_rng([_SEED, number, view])
    part = [max(int(side * rng.uniform(*_SIDES)), 1) for side in size]
    top, left = (int(rng.integers(0, side - inner + 1)) for side, inner in zip(size, part, strict=True))
    return Window(top, left, part[0], part[1], bool(rng.random() < 0.5))


def look(pixels: NDArray[Scalar], at: Window) -> NDArray[Scalar]:
    """The part of (H, W, ...) that a window shows, contiguous."""
    part = pixels[at.top : at.top + at.height, at.left : at.left + at.width]
    return np.ascontiguousarray(part[:, ::-1] if at.mirrored else part)


def shrink(labels: NDArray[np.int16], size: tuple[int, int]) -> NDArray[np.int16]:
    """Labels (H, W) at another size, each the nearest one's."""
    return np.asarray(cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), np.int16)
