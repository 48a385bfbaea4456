"""Supports: the examples of each class, as users give them and as the segmenter takes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fewshot_seg.decode import PATH_TYPES
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.images import ImageInput, describe, read_mask

Box: TypeAlias = tuple[float, float, float, float]

DEFAULT_NAME = "object"


@dataclass(frozen=True, eq=False)
class Support:
    """One example of a class.

    Attributes:
        image: a path, a PIL image, or an (H,W,3) uint8 RGB array.
        mask: what of it is the object, if known: a mask of the image's size (see `images.read_mask`).
        box: the same as a box (x, y, width, height) in the image's pixels. Not together with a mask.

    Raises:
        ConfigError: mask and box both given, or a box that isn't four finite numbers.
    """

    image: ImageInput
    mask: ImageInput | NDArray[Any] | None = None
    box: Box | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and self.box is not None:
            raise ConfigError(f"{describe(self.image)}: give a mask or a box of the object, not both")
        if self.box is not None and not _is_box(self.box):
            raise ConfigError(f"{describe(self.image)}: a box is x, y, width, height in pixels, got {self.box}")


OneSupport: TypeAlias = ImageInput | Support
ClassSupports: TypeAlias = OneSupport | Sequence[OneSupport]
Supports: TypeAlias = ClassSupports | Mapping[str, ClassSupports]


def group_supports(supports: Supports) -> dict[str, tuple[Support, ...]]:
    """Supports in any form that users give to class name -> its shots, in the order given.

    Args:
        supports: one example, several of one class (then named "object"), or a mapping of class names to those.

    Returns:
        Class names, at least one, to shots, at least one each.

    Raises:
        ConfigError: no class, a class without a shot, an empty name, a name given twice (up to case and
            surrounding blanks), or the same file as a bare example of two classes.
    """
    classes = supports if isinstance(supports, Mapping) else {DEFAULT_NAME: supports}
    if not classes:
        raise ConfigError("no supports: give at least one example image")
    grouped: dict[str, tuple[Support, ...]] = {}
    seen: dict[str, str] = {}
    for name, shots in classes.items():
        key = str(name).strip()
        if not key:
            raise ConfigError("a class has an empty name: give every class a name")
        if (folded := key.casefold()) in seen:
            raise ConfigError(f"class {key!r} is given twice (first as {seen[folded]!r}): put its shots in one list")
        seen[folded] = key
        grouped[key] = tuple(shot if isinstance(shot, Support) else Support(shot) for shot in _as_list(shots))
        if not grouped[key]:
            raise ConfigError(f"class {key!r} has no supports: give at least one example image")
    _refuse_shared(grouped)
    return grouped


def support_mask(support: Support, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """What is known of the object in a support's image of size (H,W): (H,W) bool, or None.

    Raises:
        DataError: an empty mask, or a box that lies outside the image.
        ShapeError, ImageError: a mask of another size, or unreadable.
    """
    if support.mask is not None:
        return read_mask(support.mask, size, image=support.image)
    if support.box is None:
        return None
    x, y, width, height = support.box
    rows, columns = _span(y, height, size[0]), _span(x, width, size[1])
    mask = np.zeros(size, bool)
    mask[rows, columns] = True
    if not mask.any():
        shape = f"{size[1]}x{size[0]} (width x height)"
        raise DataError(f"{describe(support.image)}: the box {support.box} lies outside the image, {shape}")
    return mask


def mask_on_map(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each of (h,w) cells that a mask (H,W) covers: (h,w) float32 in [0, 1], not all 0."""
    share = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(share, dtype=np.float32)


def _is_box(box: object) -> bool:
    try:
        values = np.asarray(box)
        return values.shape == (4,) and values.dtype.kind in "iuf" and bool(np.isfinite(values).all())
    except ValueError:  # ragged
        return False


def _as_list(shots: ClassSupports) -> Iterable[OneSupport]:
    # What is neither several nor an image (None, a number) is refused by name when it is read.
    several = isinstance(shots, Iterable) and not isinstance(shots, (bytes, PIL.Image.Image, np.ndarray))
    return shots if several and not isinstance(shots, PATH_TYPES) else [shots]  # type: ignore[list-item,return-value]


def _span(start: float, length: float, limit: int) -> slice:
    """The pixels from start to start + length, cut to the image."""
    low, high = sorted((start, start + length))
    return slice(max(0, round(low)), min(limit, max(round(high), 0)))


def _refuse_shared(grouped: Mapping[str, Sequence[Support]]) -> None:
    """A bare image can't be the example of two classes: nothing in it would tell them apart."""
    owner: dict[str, str] = {}
    for name, shots in grouped.items():
        for shot in shots:
            if shot.mask is not None or shot.box is not None or not isinstance(shot.image, PATH_TYPES):
                continue
            if "\0" in (path := os.fspath(shot.image)):  # no file's name; reading it says so
                continue
            path = os.path.realpath(path)
            if owner.setdefault(path, name) != name:
                raise ConfigError(
                    f"{describe(shot.image)}: given as a support of both {owner[path]!r} and {name!r}; "
                    "add a mask or a box for each, or choose another image"
                )
