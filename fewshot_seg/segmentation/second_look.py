"""A second look: the part of a query where the first look found something, at a scale at which it fills the grid.

A small object covers a cell or two of the map. Seen alone, its part of the image is as large as the network's input.
The logits of both looks are averaged where both look, so that no seam is left.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.refine import working_size
from fewshot_seg.imaging.images import resize_map
from fewshot_seg.matching.locators import Located
from fewshot_seg.prompts.constraints import Constraints

Part: TypeAlias = tuple[slice, slice]
"""Rows and columns of an image."""

# Measured on VOC's held-out folds and DAVIS: docs/quality.md.
_PERHAPS = 0.35  # of a map's largest value: the object may be here
_WIDER = 1.5  # sides of what was found: the part that is seen again
_LEAST = 0.3  # of the image's longer side: less would be blown up beyond what it shows
_MOST = 0.7  # of the image's area: more is no closer look
_SIDE = 160  # positions, longer side of the map that both looks go into
_SURE = 1e-3  # probabilities are kept this far from 0 and 1


def part_to_see(maps: NDArray[np.float32], size: tuple[int, int]) -> Part | None:
    """The part of an image (H,W) where any of the maps (N,h,w) says "perhaps"; None where a closer look is none."""
    peaks = maps.max((1, 2), keepdims=True)
    there = ((maps >= _PERHAPS * peaks) & (peaks > 0)).any(0)
    if not there.any():
        return None
    rows, columns = part_around(there, size, _WIDER, _LEAST)
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return None if area > _MOST * size[0] * size[1] else (rows, columns)


def part_around(there: NDArray[np.bool_], size: tuple[int, int], wider: float, least: float) -> Part:
    """A square of an image (H,W) around what is there, on any grid (h,w), cut to the image.

    Its sides are so many of those of what is there, but at least this share of the image's longer side.
    """
    spans = []
    for axis, side in ((1, size[0]), (0, size[1])):
        cells = np.flatnonzero(there.any(axis))
        scale = side / there.shape[1 - axis]
        spans.append((cells[0] * scale, (cells[-1] + 1) * scale))
    half = max(wider * max(end - start for start, end in spans), least * max(size)) / 2
    rows, columns = (
        slice(max(0, int((start + end) / 2 - half)), min(side, int(np.ceil((start + end) / 2 + half))))
        for (start, end), side in zip(spans, size, strict=True)
    )
    return rows, columns


def constraints_of_part(constraints: Constraints | None, part: Part) -> Constraints | None:
    """What is known of a part of an image."""
    return None if constraints is None else Constraints(*(None if one is None else one[part] for one in constraints))  # type: ignore[arg-type]


def both_looks(first: Located, second: Located, part: Part, size: tuple[int, int]) -> Located:
    """The first look's scores, and maps (N,h,w) of an image (H,W) that average both looks' logits within the part."""
    height, width = working_size(size, _SIDE)
    rows, columns = part
    maps = []
    for whole, close in zip(first.maps, second.maps, strict=True):
        large = resize_map(whole, size)
        own = resize_map(close, (rows.stop - rows.start, columns.stop - columns.start))
        large[part] = _probability(_logit(large[part]) + _logit(own))
        maps.append(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA))
    return first._replace(maps=np.stack(maps).astype(np.float32))


def _logit(map_: NDArray[np.float32]) -> NDArray[np.float32]:
    sure = map_.clip(_SURE, 1 - _SURE)
    return np.asarray(np.log(sure / (1 - sure)), np.float32)


def _probability(logit: NDArray[Any]) -> NDArray[np.float32]:
    """Of the mean of two logits, given their sum."""
    return np.asarray(1 / (1 + np.exp(-logit / 2)), np.float32)
