"""Outlines from outside and masks: COCO's polygons and run lengths, checked before native code or memory sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import mul
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, ShapeError
from fewshot_seg.imaging.decode import MAX_PIXELS

_LONGEST: Final = 200
"""An outline is at most so many times as long as the image's height and width together."""
_GROUP: Final = 7
"""Characters of one compressed run: 35 bits, more than any image has pixels."""


class Outline(NamedTuple):
    """What can be told of an outline without drawing it.

    Attributes:
        box: (left, top, right, bottom); the whole image for run lengths.
        area: in pixels; of polygons that cross themselves a guess.
    """

    box: tuple[float, float, float, float]
    area: float


def check_size(height: object, width: object) -> tuple[int, int]:
    """(H, W) of an image, as a file of annotations states it.

    Raises:
        DataError: no whole numbers from 1 up, or more pixels than an image may have.
    """
    for name, side in (("height", height), ("width", width)):
        if isinstance(side, bool) or not isinstance(side, (int, float)) or not 1 <= side <= MAX_PIXELS or side % 1:
            raise DataError(f"{name} {_shown(side)} is no number of pixels")
    size = int(height), int(width)  # type: ignore[call-overload]
    if math.prod(size) > MAX_PIXELS:
        raise DataError(f"height {size[0]} and width {size[1]} are more than {MAX_PIXELS / 1e6:g} million pixels")
    return size


def check_outline(shape: object, size: tuple[int, int]) -> Outline | None:
    """Check one annotation's outline; nothing is drawn, and nothing native sees it.

    Polygons are lists of x and y in turn. A point may lie outside the image by as much as the image's longer side,
    and is cut off at the image's border; an outline is at most 200 times as long as height and width together.
    Polygons of one or two points enclose nothing and are passed over.

    Args:
        shape: a list of polygons, or run lengths {"counts": list or text, "size": [H, W]}, as JSON gives them.
        size: (H, W) of the image.

    Returns:
        Where the outline is; None where it has no pixels: None itself, no polygon of three points, no filled run.

    Raises:
        DataError: neither; coordinates that are no finite numbers, don't pair up, or lie too far outside; run
            lengths of another size, or that don't add up to it. The text says why, not where.
    """
    if shape is None:
        return None
    if isinstance(shape, Mapping):
        filled = int(_runs(shape, size)[1::2].sum())
        return Outline((0, 0, size[1], size[0]), filled) if filled else None
    found = [_polygon(one, size) for one in _polygons(shape)]
    if not found:
        return None
    lefts, tops, rights, bottoms = zip(*(one.box for one in found), strict=True)
    return Outline((min(lefts), min(tops), max(rights), max(bottoms)), sum(one.area for one in found))


def draw_outline(shape: object, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The (H, W) bool mask of an outline that `check_outline` takes, whose errors it raises."""
    from pycocotools import mask as coco

    if check_outline(shape, size) is None:
        return np.zeros(size, np.bool_)
    if isinstance(shape, Mapping):
        return decode_rle(shape, size)
    return decode_rle(coco.merge(coco.frPyObjects(_polygons(shape), *size)), size)


def decode_rle(rle: Mapping[str, Any], size: tuple[int, ...] | None = None) -> NDArray[np.bool_]:
    """The (H, W) bool mask of COCO run lengths, compressed or not.

    Args:
        rle: {"counts": text or list, "size": [H, W]}.
        size: the (H, W) that it must have; None takes the one that it states.

    Raises:
        DataError: no run lengths, another size, or runs that don't add up to it. The text says why, not where.
    """
    if not isinstance(rle, Mapping):
        raise DataError("there are no run lengths")
    stated = rle.get("size")
    if not isinstance(stated, Sequence) or isinstance(stated, str) or len(stated) != 2:
        raise DataError(f"run lengths state the size {_shown(stated)}, not [height, width]")
    height, width = (size[0], size[1]) if size is not None else check_size(*stated)
    runs = _runs(rle, (height, width))
    filled = np.arange(len(runs)) % 2 == 1
    return np.repeat(filled, runs).reshape(width, height).T


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """An (H, W) bool mask as COCO run lengths: {"size": [H, W], "counts": str}. ShapeError: not (H, W)."""
    from pycocotools import mask as coco

    if mask.ndim != 2:
        raise ShapeError(f"a mask is (H, W), got {mask.shape}")
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def bounding_box(mask: NDArray[np.bool_]) -> list[int]:
    """[x, y, w, h] of an (H, W) mask in whole pixels, as COCO counts them; [0, 0, 0, 0] for an empty mask."""
    import cv2

    return [int(number) for number in cv2.boundingRect(mask.astype(np.uint8))]


def _polygons(shape: object) -> list[list[float]]:
    """The polygons of three points or more."""
    if not isinstance(shape, list) or not all(isinstance(one, list) for one in shape):
        raise DataError("it is no list of polygons and no run lengths")
    return [one for one in shape if len(one) >= 6]


def _polygon(points: list[float], size: tuple[int, int]) -> Outline:
    if not set(map(type, points)) <= {int, float}:
        raise DataError("a coordinate is no number")
    if len(points) % 2:
        raise DataError(f"a polygon has {len(points)} coordinates, which are no pairs")
    margin = max(size)
    xs, ys = points[::2], points[1::2]
    box = min(xs), min(ys), max(xs), max(ys)
    # A NaN may hide from min and max; a sum shows it.
    inside = -margin <= min(box) and box[2] <= size[1] + margin and box[3] <= size[0] + margin
    if not (inside and math.isfinite(sum(points))):
        sided = ((number, size[1 - place % 2]) for place, number in enumerate(points))
        far = next(number for number, side in sided if not -margin <= number <= side + margin)
        raise DataError(
            f"a polygon has the coordinate {_shown(far)} in an image of {size[1]}x{size[0]} (width x height)"
        )
    longest = _LONGEST * sum(size)
    if len(xs) * (box[2] - box[0] + box[3] - box[1]) > longest and _length(xs, ys) > longest:
        raise DataError(f"a polygon of {len(xs)} points is longer than {_LONGEST} times height and width together")
    twice = sum(map(mul, xs, ys[1:] + ys[:1])) - sum(map(mul, ys, xs[1:] + xs[:1]))
    return Outline(box, abs(twice) / 2)


def _length(xs: list[float], ys: list[float]) -> float:
    return sum(abs(b - a) for line in (xs, ys) for a, b in pairwise([*line, line[0]]))


def _runs(rle: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.int64]:
    """The runs of run lengths, column by column, unfilled and filled in turn; they add up to the size."""
    stated, counts = rle.get("size"), rle.get("counts")
    if not isinstance(stated, (list, tuple)) or list(stated) != list(size):
        raise DataError(f"run lengths are of size {_shown(stated)}, the image of {[*size]} (height, width)")
    if isinstance(counts, (str, bytes)):
        runs = _expanded(counts.encode("utf-8", "replace") if isinstance(counts, str) else counts)
    elif isinstance(counts, list) and set(map(type, counts)) <= {int} and all(0 <= n <= MAX_PIXELS for n in counts):
        runs = np.array(counts, np.int64)
    else:
        raise DataError("run lengths are no text and no list of numbers from 0 up")
    # Bounded first, so that no sum overflows.
    if (runs < 0).any() or (runs > MAX_PIXELS).any() or runs.sum() != math.prod(size):
        raise DataError(f"run lengths don't add up to {size[0]} x {size[1]} pixels")
    return runs


def _expanded(text: bytes) -> NDArray[np.int64]:
    """COCO's compressed runs: groups of characters of 5 bits each, low ones first.

    From the fourth run on a group is the difference to the run before the last.
    """
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    complete = ends.size and ends[-1] == len(codes) - 1
    if not complete or codes.min() < 0 or codes.max() > 63 or lengths.max() > _GROUP:
        raise DataError("run lengths are no text of COCO's")
    bits = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs: NDArray[np.int64] = np.add.reduceat((codes & 31) << bits, starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _shown(value: object) -> str:
    """A value for a message, on one short line."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "of thousands of digits"
    return text if len(text) <= 40 else f"{text[:40]}..."
