"""Options from text: "seeds.background=0.2,0.4" is a name, dotted into parts, and the values to try."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fewshot_seg.errors import ConfigError

_FORM = "give OPTION=VALUE, as in seeds.background=0.2"


def parse_setting(text: str) -> tuple[str, Any]:
    """Both parts of "name=value"; see `parse_values`. ConfigError: of another form, or several values."""
    name, values = parse_values(text)
    if len(values) > 1:
        raise ConfigError(f"{text!r}: one value is wanted here; {_FORM}")
    return name, values[0]


def parse_values(text: str) -> tuple[str, list[Any]]:
    """The name and the values of "name=v1,v2": numbers, true, false and null as in JSON, all else as words.

    Raises:
        ConfigError: of another form, or a value twice.
    """
    name, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(",")]
    if not equals or not all(name.strip().split(".")) or not all(parts):
        raise ConfigError(f"{text!r}: {_FORM}")
    if len(set(parts)) < len(parts):
        raise ConfigError(f"{text!r}: a value stands there twice; name each once")
    return name.strip(), [_value(part) for part in parts]


def parse_grid(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Option -> values of several such texts; see `parse_values`. ConfigError: of another form, or an option twice."""
    grid: dict[str, list[Any]] = {}
    for name, values in map(parse_values, texts):
        if name in grid:
            raise ConfigError(f"{name}: is set twice; name all its values at once, as {name}=1,2")
        grid[name] = values
    return grid


def nested(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Dotted names as nested ones: [("a", 1), ("b.c", 2)] to {"a": 1, "b": {"c": 2}}.

    Raises:
        ConfigError: a name twice, or one that is a part of another.
    """
    whole: dict[str, Any] = {}
    for name, value in settings:
        *path, last = name.split(".")
        place = whole
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, Mapping):
                raise ConfigError(f"{name}: {part} is set itself, too; set one of them")
        if last in place:
            raise ConfigError(f"{name}: is set twice; set it once")
        place[last] = value
    return whole


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
