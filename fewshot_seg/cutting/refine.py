"""Refinement: a trimap and the image's colours to a mask, at a working size.

GrabCut is cv2's (Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004); the random walker is scikit-image's
(Grady, "Random Walks for Image Segmentation", TPAMI 2006). `upsample.upsample_mask` is the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.seeds import BACKGROUND, FOREGROUND, foreground_of
from fewshot_seg.errors import ConfigError, ShapeError

_WALK_EDGES = 90.0  # how much a step across an edge costs the random walker (its beta)

MIN_PIXELS = 16
"""GrabCut fits 5 Gaussians to either side; with fewer pixels than this on one it isn't run."""


@dataclass(frozen=True)
class GrabCutOptions:
    """How GrabCut runs.

    Attributes:
        iterations: rounds of fitting and cutting, 1 to 100. More than one changed nothing (docs/quality.md).
        working_size: longer side of the image that is cut, pixels, 16 to 4096. Its time grows with the square.

    Raises:
        ConfigError: a value out of its range.
    """

    iterations: int = 1
    working_size: int = 256

    def __post_init__(self) -> None:
        for name, low, high in (("iterations", 1, 100), ("working_size", 16, 4096)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"grabcut {name} {value!r}: must be a whole number, {low} to {high}")


def working_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(h,w) of an image (H,W) whose longer side is brought to `longest` pixels; never larger than the image."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def grabcut(
    image: NDArray[np.uint8], seeds: NDArray[np.uint8], options: GrabCutOptions | None = None, seed: int = 0
) -> NDArray[np.bool_]:
    """The foreground that GrabCut finds from a trimap.

    It never fails on a trimap: where one side has fewer than `MIN_PIXELS` pixels, or where GrabCut leaves no
    foreground at all, the trimap's own foreground (sure and probable) is the result.

    Args:
        image: (h,w,3) uint8 RGB at working size.
        seeds: (h,w) uint8, as `seeds.trimap` gives it.
        options: None means the defaults.
        seed: of cv2's random numbers (its k-means starts from them); the same seed gives the same mask,
            whatever the number of threads.

    Returns:
        (h,w) bool.

    Raises:
        ShapeError: image and seeds don't fit.
    """
    options = options or GrabCutOptions()
    _check_fit(image, seeds)
    start = foreground_of(seeds)
    inside = int(start.sum())
    if min(inside, start.size - inside) < MIN_PIXELS or min(start.shape) < 2 or not _unknown(seeds):
        return start
    labels = seeds.copy()
    models = np.zeros((2, 1, 65))  # 5 Gaussians of 13 numbers each; cv2 fills them
    cv2.setRNGSeed(seed)  # this thread's generator alone
    whole = (0, 0, 0, 0)  # not used where the start is a mask
    cv2.grabCut(image, labels, whole, models[0], models[1], options.iterations, cv2.GC_INIT_WITH_MASK)
    found = foreground_of(labels)
    return found if found.any() else start


def random_walk(image: NDArray[np.uint8], seeds: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels from which a random walker, slow to cross edges, sooner meets sure foreground than sure background.

    Unlike GrabCut it knows no colour models: only what is connected counts. Where one side has no sure pixel, the
    trimap's own foreground is the result. What is probable in the trimap counts as unknown; else as `grabcut`.
    """
    _check_fit(image, seeds)
    markers = np.where(seeds == FOREGROUND, 1, np.where(seeds == BACKGROUND, 2, 0))
    if not _unknown(seeds) or not {1, 2} <= set(np.unique(markers).tolist()):
        return foreground_of(seeds)
    from skimage.segmentation import random_walker

    # Solved directly: its iterations, the quicker way for large images, take minutes for some.
    reached = random_walker(image / 255.0, markers, beta=_WALK_EDGES, mode="bf", channel_axis=-1)
    return np.asarray(reached == 1)


def expected_iou(mask: NDArray[np.bool_], probability: NDArray[np.float32]) -> float:
    """What the IoU of a mask (h,w) with the truth should be, by each pixel's probability (h,w) of being foreground.

    It is the expected intersection over the expected union, in [0, 1]; 0 for an empty mask.
    """
    inside = float(probability[mask].sum())
    union = float(mask.sum()) + float(probability.sum()) - inside
    return inside / union if union > 0 else 0.0


def shrunk_mask(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask (H,W) at a smaller size (h,w): what covers most of a pixel there."""
    small = cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small > 0.5)


def _check_fit(image: NDArray[np.uint8], seeds: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != seeds.shape:
        raise ShapeError(f"image of shape {image.shape} and seeds of shape {seeds.shape} don't belong together")


def _unknown(seeds: NDArray[np.uint8]) -> bool:
    """Whether any pixel is left to decide."""
    return bool(((seeds != BACKGROUND) & (seeds != FOREGROUND)).any())
