"""Hints: what a user knows of where an object is in an image, from a mask down to a single point.

A hint is what the user gives (`Hint`); `constraints` says what it means for each pixel, and uses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.imaging.images import ImageInput, read_mask
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.prompts.scribbles import read_scribble

Box: TypeAlias = tuple[float, float, float, float]
Point: TypeAlias = tuple[float, float] | tuple[float, float, bool]

POINT_RADIUS = 0.01
"""A point stands for a disc of this radius, in lengths of the image's longer side; at least its own pixel."""


@dataclass(frozen=True, eq=False)
class Hint:
    """What is known of an object in an image.

    Attributes:
        mask: exactly where it is: a mask of the image's size (see `images.read_mask`). Not together with others.
        box: (x, y, width, height) in the image's pixels: nothing outside it is the object.
        points: (x, y) or (x, y, is_object) in the image's pixels, (0, 0) the top left one.
        scribble: strokes on the object and on the background, of the image's size (see `read_scribble`).

    Raises:
        ConfigError: a mask with anything else, a box that isn't four finite numbers, points that aren't points,
            or nothing at all.
    """

    mask: ImageInput | None = None
    box: Box | None = None
    points: Sequence[Point] | None = None
    scribble: ImageInput | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("mask", "box", "points", "scribble") if getattr(self, name) is not None]
        if not given:
            raise ConfigError("an empty hint: give a mask, a box, points or a scribble")
        if "mask" in given and len(given) > 1:
            raise ConfigError(f"give a mask or a {given[1].rstrip('s')} of the object, not both: a mask says it all")
        if self.box is not None and not _is_numbers(self.box, 4):
            raise ConfigError(f"a box is x, y, width, height in pixels, got {self.box}")
        if self.points is not None:
            object.__setattr__(self, "points", _as_points(self.points))


@dataclass(frozen=True, eq=False)
class HintedImage:
    """An image, and what is known of the object in it.

    Attributes:
        image: in any form, as `ImageInput` says.
        mask, box, points, scribble: as in `Hint`.

    Raises:
        ConfigError: as `Hint`, with the image's name.
    """

    image: ImageInput
    mask: ImageInput | None = None
    box: Box | None = None
    points: Sequence[Point] | None = None
    scribble: ImageInput | None = None

    def __post_init__(self) -> None:
        _ = self.hint  # checks it

    @property
    def hint(self) -> Hint | None:
        """What is known of the object; None where nothing is."""
        given = self.mask, self.box, self.points, self.scribble
        if all(one is None for one in given):
            return None
        try:
            return Hint(*given)
        except ConfigError as error:
            raise ConfigError(f"{describe(self.image)}: {error}") from error


@dataclass(frozen=True, eq=False)
class Query(HintedImage):
    """A query of which something is known. Queries without hints need no `Query`.

    Attributes:
        hints: what is known of several classes, by name. Not together with the others, which are of the only class.

    Raises:
        ConfigError: as `HintedImage`, or both ways of giving hints at once.
    """

    hints: Mapping[str, Hint] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.hint is not None and self.hints:
            raise ConfigError(f"{describe(self.image)}: give hints by class or for the only class, not both")


def read_constraints(hint: Hint | None, size: tuple[int, int], image: object = None) -> Constraints | None:
    """What a hint says of an image of size (H,W); None where there is no hint.

    Args:
        hint: as given.
        size: (H,W) of the image, as `images.read_image` gives it.
        image: whose it is, for messages.

    Raises:
        DataError: an empty mask or scribble, a box or point outside the image, or a contradiction.
        ShapeError, ImageError: a mask or scribble of another size, or unreadable.
    """
    if hint is None:
        return None
    if hint.mask is not None:
        mask = read_mask(hint.mask, size, image=image)
        return Constraints(mask, ~mask)
    foreground, background = np.zeros(size, bool), np.zeros(size, bool)
    name = "the image" if image is None else describe(image)
    if hint.scribble is not None:
        strokes = read_scribble(hint.scribble, size, image=image)
        foreground |= strokes[0]
        background |= strokes[1]
    _draw_points(hint.points or (), foreground, background, name)
    inside = None if hint.box is None else box_mask(hint.box, size, name)
    if inside is not None:
        if (foreground & ~inside).any() and not (foreground & inside).any():
            raise DataError(f"{name}: the object is marked outside of its box {hint.box}; the box must hold all of it")
        foreground &= inside
        background |= ~inside
    return Constraints(foreground, background, inside)


def query_constraints(
    query: ImageInput | Query, classes: Sequence[str], size: tuple[int, int]
) -> tuple[Constraints | None, ...]:
    """What is known of each of the supports' classes in a query of size (H,W); None where nothing is.

    One class's object is background to the others.

    Raises:
        ConfigError: a hint of no class where there are several, or of an unknown class.
        DataError, ShapeError, ImageError: as `read_constraints`.
    """
    if not isinstance(query, Query):
        return (None,) * len(classes)
    hints = dict(query.hints)
    if (hint := query.hint) is not None:
        if len(classes) != 1:
            raise ConfigError(f"{describe(query.image)}: there are {len(classes)} classes; give its hints by class")
        hints = {classes[0]: hint}
    for name in hints:
        if name not in classes:
            raise ConfigError(f"{describe(query.image)}: a hint of {name!r}, which is no class of the supports")
    own = [read_constraints(hints.get(name), size, query.image) for name in classes]
    return tuple(_beside(constraints, own[:i] + own[i + 1 :]) for i, constraints in enumerate(own))


def box_mask(box: Box, size: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """What a box holds of an image of size (H,W): (H,W) bool. DataError if nothing."""
    x, y, width, height = box
    mask = np.zeros(size, bool)
    mask[_span(y, height, size[0]), _span(x, width, size[1])] = True
    if not mask.any():
        raise DataError(f"{name}: the box {box} lies outside the image, {size[1]}x{size[0]} (width x height)")
    return mask


def _beside(constraints: Constraints | None, others: Sequence[Constraints | None]) -> Constraints | None:
    """A class's marks, and the other classes' objects as background; where both claim a pixel it is unknown."""
    claimed = [other.foreground for other in others if other is not None]
    if not claimed:
        return constraints
    theirs = np.logical_or.reduce(claimed)
    if constraints is None:
        return Constraints(np.zeros_like(theirs), theirs)
    return Constraints(
        constraints.foreground & ~theirs,
        constraints.background | (theirs & ~constraints.foreground),
        constraints.inside,
    )


def _draw_points(
    points: Sequence[Point], foreground: NDArray[np.bool_], background: NDArray[np.bool_], name: str
) -> None:
    """Discs around points, drawn into both masks (H,W); a pixel near points of both kinds goes to the nearest."""
    height, width = foreground.shape
    if not points:
        return
    nearest = np.full((height, width), np.inf)
    limit = max(1.0, POINT_RADIUS * max(height, width))
    for x, y, is_object in ((*point, True)[:3] for point in points):
        if not (0 <= x < width and 0 <= y < height):
            size = f"{width}x{height} (width x height)"
            raise DataError(f"{name}: the point {x:g}, {y:g} lies outside the image, {size}")
        column, row, reach = int(x), int(y), math.ceil(limit)
        if nearest[row, column] == 0 and foreground[row, column] != is_object:
            raise DataError(f"{name}: the point {x:g}, {y:g} is given as object and as background")
        low, left = max(0, row - reach), max(0, column - reach)
        part = slice(low, row + reach + 1), slice(left, column + reach + 1)
        down, across = (np.arange(n, dtype=float) for n in nearest[part].shape)
        distance = np.hypot(across + (left - column), (down + (low - row))[:, None])
        here = (distance < limit) & (distance <= nearest[part])
        nearest[part][here] = distance[here]
        foreground[part][here], background[part][here] = is_object, not is_object


def _as_points(points: object) -> tuple[Point, ...]:
    """Checked; ConfigError otherwise."""
    wanted = "points are (x, y) or (x, y, is_object) in pixels"
    try:
        found = [tuple(point) for point in points]  # type: ignore[attr-defined]
    except TypeError as error:
        raise ConfigError(f"{wanted}, got {points!r}") from error
    if not found:
        raise ConfigError(f"{wanted}, got none")
    for point in found:
        if not _is_numbers(point[:2], 2) or len(point) > 3 or (*point, True)[2] not in (0, 1):
            raise ConfigError(f"{wanted}, got {point!r}")
    return tuple((float(p[0]), float(p[1]), bool((*p, True)[2])) for p in found)


def _is_numbers(values: object, count: int) -> bool:
    try:
        array = np.asarray(values)
        return array.shape == (count,) and array.dtype.kind in "iuf" and bool(np.isfinite(array).all())
    except ValueError:  # ragged
        return False


def _span(start: float, length: float, limit: int) -> slice:
    """The pixels from start to start + length, cut to the image."""
    low, high = sorted((start, start + length))
    return slice(max(0, round(low)), min(limit, max(round(high), 0)))
