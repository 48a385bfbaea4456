"""`--support NAME=PATH` and what is known of each, `--support-mask` and its like, to a mapping of supports."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from fewshot_seg.commands.hint_options import SupportHints
from fewshot_seg.commands.hints import BOX_FORM, KINDS, POINTS_FORM, Given, read_value
from fewshot_seg.errors import ConfigError

NONE = "-"  # nothing is known of this shot
UNNAMED = "object"  # the class of a support that is given as a path alone


@dataclass(frozen=True)
class Shot:
    """One support: an image file, and what is known of it."""

    path: Path
    known: Given = field(default_factory=Given)


def parse_supports(
    supports: Sequence[str],
    masks: Sequence[str] = (),
    boxes: Sequence[str] = (),
    points: Sequence[str] = (),
    scribbles: Sequence[str] = (),
) -> dict[str, tuple[Shot, ...]]:
    """Read the five options; classes in the order of their first appearance.

    Each `NAME=PATH` is split at its first `=`; PATH is a file, a folder or a glob, and every image found is
    a shot of NAME. A string that is itself an existing file or folder, and whose part after `=` is not one,
    is a path alone: a shot of the class "object". The k-th mask (box, points, scribble) of a class belongs to
    its k-th shot; `NAME=-` says that there is none.

    A file may appear twice, in one class or in two, only with something else known of it each time.

    Raises:
        ConfigError: no support, an empty or unknown name, counts that do not match, a bad box or point, a mask
        with anything else, the same shot twice. DataError: a path that is not there or holds no image.
    """
    if not supports:
        raise ConfigError("no support given; name an example image: --support NAME=PATH")
    paths = _gather(supports, "--support")
    given = dict(zip(KINDS, (masks, boxes, points, scribbles), strict=True))
    known = {kind: _values(kind, texts, paths) for kind, texts in given.items()}
    result = {
        name: tuple(_shot(name, path, {kind: of[name][k] for kind, of in known.items()}) for k, path in enumerate(own))
        for name, own in paths.items()
    }
    _refuse_repeats(result)
    return result


def all_supports(supports: Sequence[str], hints: SupportHints) -> dict[str, tuple[Shot, ...]]:
    """The examples of `--support` and its hints, and after them those of `--support-annotations`, class by class.

    Raises:
        BadParameter: there is neither. Else as `parse_supports` and `formats.read_supports`.
    """
    if not supports and not hints.annotations:
        raise typer.BadParameter("no example: give --support NAME=PATH or --support-annotations FILE")
    given = [texts or () for texts in (hints.masks, hints.boxes, hints.points, hints.scribbles)]
    classes = parse_supports(supports, *given) if supports or any(given) else {}
    for path in hints.annotations or ():
        from fewshot_seg.formats import read_supports

        for name, examples in read_supports(path, hints.annotated).items():
            shots = tuple(Shot(Path(str(one.image)), Given(mask=one.mask)) for one in examples)  # type: ignore[arg-type]
            classes[name] = (*classes.get(name, ()), *shots)
    return classes


def parse_negatives(patterns: Sequence[str]) -> list[Path]:
    """Read `--not`: files, folders or globs to images, each once.

    Raises:
        DataError: a path that is not there or holds no image.
    """
    from fewshot_seg.imaging.images import find_images

    return find_images(patterns) if patterns else []


def _values(kind: str, texts: Sequence[str], paths: dict[str, list[Path]]) -> dict[str, list[Any]]:
    """One kind of hint for each class and shot; None where there is none."""
    option = f"--support-{kind}"
    values: dict[str, list[Any]] = {}
    for text in texts:
        name, value = _hint_and_name(kind, text, option)
        values.setdefault(name, []).extend(value)
    _check_names(values, paths, option)
    for name, own in values.items():
        _check_count(name, option, len(own), len(paths[name]))
    return {name: values.get(name, [None] * len(own)) for name, own in paths.items()}


def _hint_and_name(kind: str, text: str, option: str) -> tuple[str, list[Any]]:
    from fewshot_seg.imaging.images import find_images

    if kind in ("mask", "scribble"):
        name, path = _name_and_path(text, option)
        return name, [None] if path == NONE else [*find_images([path])]
    name, value = _split_name(text, option, f"NAME={BOX_FORM if kind == 'box' else POINTS_FORM}")
    return name, [None if value == NONE else read_value(kind, option, text, value)]


def _shot(name: str, path: Path, known: dict[str, Any]) -> Shot:
    return Shot(path, Given(**known).checked(f"class '{name}': {path}"))


def _gather(options: Sequence[str], option: str) -> dict[str, list[Path]]:
    from fewshot_seg.imaging.images import find_images

    found: dict[str, list[Path]] = {}
    for text in options:
        name, path = _name_and_path(text, option)
        found.setdefault(name, []).extend(find_images([path]))
    return found


def _name_and_path(text: str, option: str) -> tuple[str, str]:
    _, equals, path = text.partition("=")
    # A path may hold a "=" of its own: "runs/lr=0.1/cat.jpg" is no class "runs/lr".
    bare = _exists(text) and not (equals and path and _exists(path))
    if bare:
        return UNNAMED, text
    return _split_name(text, option, "NAME=PATH")


def _split_name(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = unicodedata.normalize("NFC", name.strip())
    if not equals:
        raise ConfigError(f"{option} '{text}': no such file, and not of the form {form}")
    if not name:
        raise ConfigError(f"{option} '{text}': the class name before '=' is empty; write {form}")
    if not value.strip():
        raise ConfigError(f"{option} '{text}': nothing stands after '='; write {form}")
    return name, value


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for names that are too long


def _check_names(given: dict[str, list[Any]], known: dict[str, list[Path]], option: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the classes are {', '.join(known)}"
            raise ConfigError(f"{option} names the class '{name}', which has no --support; {hint}")


def _check_count(name: str, option: str, count: int, shots: int) -> None:
    if count and count != shots:
        raise ConfigError(f"class '{name}' has {shots} support(s) but {count} {option}; give one for each, in order")


def _refuse_repeats(classes: dict[str, tuple[Shot, ...]]) -> None:
    seen: dict[tuple[object, ...], str] = {}
    for name, shots in classes.items():
        for shot in shots:
            known = shot.known
            key = (os.path.realpath(shot.path), known.box, known.points, *map(os.path.realpath, known.files))
            if key in seen:
                where = f"twice for class '{name}'" if seen[key] == name else f"for '{seen[key]}' and for '{name}'"
                raise ConfigError(
                    f"support {shot.path} is given {where}; give it once, or each with its own mask, box or points"
                )
            seen[key] = name
