"""Supports: the examples of each class, as users give them and as the segmenter takes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import PATH_TYPES, ConfigError, describe
from fewshot_seg.imaging.inputs import ImageInput, is_one
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.prompts.hints import HintedImage, read_constraints

DEFAULT_NAME = "object"


class Support(HintedImage):
    """One example of a class."""


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
        grouped[key] = as_shots(shots)
        if not grouped[key]:
            raise ConfigError(f"class {key!r} has no supports: give at least one example image")
    _refuse_shared(grouped)
    return grouped


def as_shots(shots: ClassSupports) -> tuple[Support, ...]:
    """One example or several, in any form, in the order given."""
    # What is neither several nor an image (None, a number) is refused by name when it is read.
    several = isinstance(shots, Iterable) and not is_one(shots)
    listed: Iterable[OneSupport] = shots if several else [shots]  # type: ignore[list-item,assignment]
    return tuple(shot if isinstance(shot, Support) else Support(shot) for shot in listed)


def support_constraints(support: Support, size: tuple[int, int]) -> Constraints | None:
    """What is known of the pixels of a support's image of size (H,W), or None; raises what `read_constraints` does."""
    return read_constraints(support.hint, size, support.image)


def support_mask(support: Support, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """What a support's image of size (H,W) shows of the object, as far as it is known: (H,W) bool, or None.

    A mask; else what a box holds, without what is marked as background; else what points or strokes mark. Raises what
    `hints.read_constraints` does.
    """
    constraints = support_constraints(support, size)
    if constraints is None:
        return None
    if constraints.inside is not None:
        return np.asarray(constraints.inside & ~constraints.background)
    return constraints.foreground if constraints.foreground.any() else None


def _refuse_shared(grouped: Mapping[str, Sequence[Support]]) -> None:
    """A bare image can't be the example of two classes: nothing in it would tell them apart."""
    owner: dict[str, str] = {}
    for name, shots in grouped.items():
        for shot in shots:
            if shot.hint is not None or not isinstance(shot.image, PATH_TYPES):
                continue
            if "\0" in (path := os.fspath(shot.image)):  # no file's name; reading it says so
                continue
            path = os.path.realpath(path)
            if owner.setdefault(path, name) != name:
                raise ConfigError(
                    f"{describe(shot.image)}: given as a support of both {owner[path]!r} and {name!r}; "
                    "add a mask, box or points for each, or choose another image"
                )
