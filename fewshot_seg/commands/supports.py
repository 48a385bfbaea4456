"""`--support`, `--support-mask` (NAME=PATH) and `--support-box` (NAME=X,Y,W,H) to a mapping of supports."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot_seg.errors import ConfigError

__all__ = ["Box", "Shot", "parse_supports"]

Box = tuple[float, float, float, float]
UNNAMED = "object"  # the class of a support that is given as a path alone


@dataclass(frozen=True)
class Shot:
    """One support: an image file and, where given, its mask file or its box (x, y, w, h in pixels)."""

    path: Path
    mask: Path | None = None
    box: Box | None = None


def parse_supports(
    supports: Sequence[str], masks: Sequence[str] = (), boxes: Sequence[str] = ()
) -> dict[str, tuple[Shot, ...]]:
    """Read the three options; classes in the order of their first appearance.

    Each `NAME=PATH` is split at its first `=`; PATH is a file, a folder or a glob, and every image found is
    a shot of NAME. A string that is itself an existing file or folder, and whose part after `=` is not one,
    is a path alone: a shot of the class "object". The k-th mask (or box) of a class belongs to its k-th shot.

    A file may appear twice, in one class or in two, only with a different mask or box each time.

    Raises:
        ConfigError: no support, an empty or unknown name, counts that do not match, a bad box, the same shot
        twice. DataError: a path that is not there or holds no image.
    """
    if not supports:
        raise ConfigError("no support given; name an example image: --support NAME=PATH")
    shots = _gather(supports, "--support")
    mask_files = _gather(masks, "--support-mask")
    box_values: dict[str, list[Box]] = {}
    for text in boxes:
        name, value = _split_name(text, "--support-box", "NAME=X,Y,W,H")
        box_values.setdefault(name, []).append(_box(text, value))
    _check_names(mask_files, shots, "--support-mask")
    _check_names(box_values, shots, "--support-box")
    result: dict[str, tuple[Shot, ...]] = {}
    for name, paths in shots.items():
        own_masks, own_boxes = mask_files.get(name, []), box_values.get(name, [])
        if own_masks and own_boxes:
            raise ConfigError(f"class '{name}' has both masks and boxes; give one or the other")
        _check_count(name, "--support-mask", len(own_masks), len(paths))
        _check_count(name, "--support-box", len(own_boxes), len(paths))
        result[name] = tuple(
            Shot(
                path,
                own_masks[number] if own_masks else None,
                own_boxes[number] if own_boxes else None,
            )
            for number, path in enumerate(paths)
        )
    _refuse_repeats(result)
    return result


def _gather(options: Sequence[str], option: str) -> dict[str, list[Path]]:
    from fewshot_seg.images import find_images

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


def _box(text: str, value: str) -> Box:
    try:
        x, y, w, h = (float(number) for number in value.split(","))
    except ValueError:
        raise ConfigError(f"--support-box '{text}': a box is four numbers, NAME=X,Y,W,H in pixels") from None
    if not (w > 0 and h > 0 and max(map(abs, (x, y, w, h))) < 1e9):  # also refuses nan
        raise ConfigError(f"--support-box '{text}': width and height must be above 0, and every number finite")
    return x, y, w, h


def _check_names(
    given: dict[str, list[Path]] | dict[str, list[Box]], known: dict[str, list[Path]], option: str
) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the classes are {', '.join(known)}"
            raise ConfigError(f"{option} names the class '{name}', which has no --support; {hint}")


def _check_count(name: str, option: str, count: int, shots: int) -> None:
    if count and count != shots:
        raise ConfigError(f"class '{name}' has {shots} support(s) but {count} {option}; give one for each, in order")


def _refuse_repeats(classes: dict[str, tuple[Shot, ...]]) -> None:
    seen: dict[tuple[str, str | None, Box | None], str] = {}
    for name, shots in classes.items():
        for shot in shots:
            mask = os.path.realpath(shot.mask) if shot.mask is not None else None
            key = (os.path.realpath(shot.path), mask, shot.box)
            if key in seen:
                where = f"twice for class '{name}'" if seen[key] == name else f"for '{seen[key]}' and for '{name}'"
                raise ConfigError(
                    f"support {shot.path} is given {where}; give it once, or each with its own mask or box"
                )
            seen[key] = name
