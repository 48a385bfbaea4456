"""What the options say is known of an image: boxes, points, masks and scribbles, of supports and of queries."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_seg.commands.hint_options import QueryHints
from fewshot_seg.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Points = tuple[tuple[float, float, bool], ...]

KINDS = ("mask", "box", "points", "scribble")
BOX_FORM = "X,Y,W,H"
POINTS_FORM = "X,Y[,bg]:..."


@dataclass(frozen=True)
class Given:
    """What is given of one object in one image; see `prompts.hints.Hint`. A mask is a file or (H,W) bool."""

    mask: Path | NDArray[np.bool_] | None = None
    box: Box | None = None
    points: Points | None = None
    scribble: Path | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which of `KINDS` are given."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(path for path in (self.mask, self.scribble) if isinstance(path, Path))

    def checked(self, whose: str) -> Given:
        """Itself. ConfigError if a mask is given with anything else."""
        if self.mask is not None and len(self.kinds) > 1:
            raise ConfigError(f"{whose} has both a mask and a {self.kinds[1]}; a mask says it all: give one of them")
        return self


def parse_box(option: str, text: str, value: str) -> Box:
    """X,Y,W,H. ConfigError otherwise."""
    try:
        x, y, w, h = (float(number) for number in value.split(","))
    except ValueError:
        raise ConfigError(f"{option} '{text}': a box is four numbers, {BOX_FORM} in pixels") from None
    if not (w > 0 and h > 0 and max(map(abs, (x, y, w, h))) < 1e9):  # also refuses nan
        raise ConfigError(f"{option} '{text}': width and height must be above 0, and every number finite")
    return x, y, w, h


def parse_points(option: str, text: str, value: str) -> Points:
    """X,Y on the object, X,Y,bg beside it, with colons between. ConfigError otherwise."""
    points = []
    for part in value.split(":"):
        x, _, rest = part.partition(",")
        y, _, kind = rest.partition(",")
        try:
            place = float(x), float(y)
        except ValueError:
            place = (float("nan"), 0.0)
        if kind.strip() not in ("", "fg", "bg") or not max(map(abs, place)) < 1e9:
            raise ConfigError(f"{option} '{text}': '{part}' is no point; write {POINTS_FORM}, in pixels")
        points.append((*place, kind.strip() != "bg"))
    return tuple(points)


def parse_query_hints(
    hints: QueryHints, queries: Sequence[Path], classes: Sequence[str]
) -> dict[str, dict[str, Given]]:
    """What is known of each query: its real path -> class -> what is given.

    Each text is `[PATH=][NAME=]VALUE`. PATH is a query as it was given, or its file's name where only one query
    has it; it may be left out where there is one query, and NAME where there is one class.

    Raises:
        ConfigError: no such query or class, a bad value, the same thing twice, or a mask with anything else.
        DataError: a mask or scribble that is not there.
    """
    known: dict[str, dict[str, Given]] = {}
    by_name, by_class = _names_of(queries), {name: name for name in classes}
    for kind, text in hints.texts():
        option = f"--query-{kind}"
        query, rest = _owner(option, text, text, by_name, "query: write PATH=... as the query was given")
        name, value = _owner(option, text, rest, by_class, f"class: write NAME=..., one of {', '.join(classes)}")
        parsed = read_value(kind, option, text, value)
        own = known.setdefault(query, {})
        before = own.get(name, Given())
        if kind in before.kinds:
            raise ConfigError(f"{option} '{text}': given twice for this query and class; give it once")
        own[name] = replace(before, **{kind: parsed}).checked(f"{option} '{text}': the query")
    return known


def read_value(kind: str, option: str, text: str, value: str) -> Any:
    """The part after the last `=` of an option, as `Given` holds it.

    Raises:
        ConfigError: a bad box or point, or more files than one. DataError: a file that is not there.
    """
    if kind == "box":
        return parse_box(option, text, value)
    if kind == "points":
        return parse_points(option, text, value)
    from fewshot_seg.imaging.images import find_images

    found = find_images([value])
    if len(found) != 1:
        raise ConfigError(f"{option} '{text}': {len(found)} images; name one file")
    return found[0]


def _names_of(queries: Sequence[Path]) -> dict[str, str]:
    """Everything that names a query -> its real path: a path, or a file's name that is its alone."""
    named: dict[str, str] = {}
    shared = set()
    for path in queries:
        real = os.path.realpath(path)
        if named.setdefault(path.name, real) != real:
            shared.add(path.name)
    unique = {name: real for name, real in named.items() if name not in shared}
    return unique | {name: os.path.realpath(path) for path in queries for name in (str(path), os.path.realpath(path))}


def _owner(option: str, text: str, rest: str, names: Mapping[str, str], wanted: str) -> tuple[str, str]:
    """Whose a text is, and what follows: its longest beginning before an `=` that is one of the names decides."""
    for at in reversed([i for i, letter in enumerate(rest) if letter == "="]):
        left = rest[:at].strip()
        for name in (left, unicodedata.normalize("NFC", left), os.path.realpath(left)):
            if name in names:
                return names[name], rest[at + 1 :]
    if len(owners := set(names.values())) == 1:
        return owners.pop(), rest
    raise ConfigError(f"{option} '{text}': names no {wanted}")
