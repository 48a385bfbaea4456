"""`fewshot-seg segment --candidates` and `--mean`: which of the things that an example shows is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_seg.commands.outputs import refuse_foreign, refuse_overwriting
from fewshot_seg.commands.supports import NONE, Shot
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.files import read_json
from fewshot_seg.imaging.export import make_folder, write_image, write_json
from fewshot_seg.imaging.geometry import encode_rle
from fewshot_seg.imaging.images import read_image
from fewshot_seg.imaging.render import Tile, overlay, sheet
from fewshot_seg.segmentation.segmenter import Segmenter, Support

JSON_NAME, SHEET_NAME = "candidates.json", "candidates.png"
_MOST = 6  # candidates of an example that are shown; --mean may name others, too

Classes = Mapping[str, Sequence[Shot]]


def parse_mean(texts: Sequence[str], classes: Classes) -> dict[str, list[int | None]]:
    """Read `--mean [NAME=]NUMBER`: of each class the numbers of its examples in order, None for "-".

    Raises:
        ConfigError: no such class, no number from 1 up, not one for each example, or one for an example of which
            something is known.
    """
    found: dict[str, list[int | None]] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        name = name.strip() or (next(iter(classes)) if len(classes) == 1 else "")
        if name not in classes:
            raise ConfigError(f"--mean '{text}': names no class; write NAME=NUMBER, NAME one of {', '.join(classes)}")
        if value.strip() != NONE and not (value.strip().isdecimal() and int(value) >= 1):
            raise ConfigError(f"--mean '{text}': '{value}' is no number of {SHEET_NAME}; write 1, 2, ...")
        found.setdefault(name, []).append(None if value.strip() == NONE else int(value))
    for name, numbers in found.items():
        shots = classes[name]
        if len(numbers) != len(shots):
            raise ConfigError(
                f"class '{name}' has {len(shots)} support(s) but {len(numbers)} --mean; give one for each"
            )
        for number, shot in zip(numbers, shots, strict=True):
            if number is not None and shot.known.kinds:
                raise ConfigError(
                    f"class '{name}': {shot.path} has a {shot.known.kinds[0]} and --mean; give one of them"
                )
    return found


def as_supports(segmenter: Segmenter, classes: Classes, mean: Sequence[str]) -> dict[str, list[Support]]:
    """The classes' supports, the chosen candidates as their masks.

    Raises:
        ConfigError: as `parse_mean`, or a number that an example has no candidate of. ImageError: a bad example.
    """
    numbers = parse_mean(mean, classes)

    def support(name: str, place: int, shot: Shot) -> Support:
        number = numbers[name][place] if name in numbers else None
        if number is None:
            return Support(shot.path, **asdict(shot.known))
        masks = segmenter.candidates(shot.path)
        if number > len(masks):
            raise ConfigError(
                f"--mean {name}={number}: {shot.path} has {len(masks)} candidates; --candidates shows them"
            )
        return Support(shot.path, mask=masks[number - 1])

    return {name: [support(name, k, shot) for k, shot in enumerate(shots)] for name, shots in classes.items()}


def write_candidates(segmenter: Segmenter, classes: Classes, out: Path) -> dict[str, Any]:
    """Write candidates.png, the things of every example numbered and outlined, and candidates.json, their outlines.

    Raises:
        DataError: no example shows a thing. ImageError: a bad example. ConfigError: files of others are in the way.
        OutputError: they can't be written.
    """
    outputs = [out / JSON_NAME, out / SHEET_NAME]
    shots = [(name, shot) for name, group in classes.items() for shot in group]
    refuse_overwriting(outputs, [shot.path for _, shot in shots])
    ours = _is_ours(out / JSON_NAME)
    refuse_foreign(outputs, lambda _: ours)
    rows, entries = [], []
    for name, shot in shots:
        image, masks = read_image(shot.path), segmenter.candidates(shot.path)[:_MOST]
        rows.append(
            [
                Tile(overlay(image, mask.astype(np.uint8)), f"{number}\n{name}")
                for number, mask in enumerate(masks, start=1)
            ]
        )
        entries.append({"class": name, "path": str(shot.path), "candidates": [encode_rle(mask) for mask in masks]})
    if not any(rows):
        raise DataError("no example shows a thing that a matcher tells from its background; give a mask or a point")
    make_folder(out)
    content = {"sheet": SHEET_NAME, "examples": entries}
    write_json(out / JSON_NAME, content)  # first: it says whose the other is
    write_image(out / SHEET_NAME, sheet(rows, "What is meant? --mean NUMBER, or --mean NAME=NUMBER"))
    return content


def _is_ours(path: Path) -> bool:
    try:
        content = read_json(path)
        return not path.is_symlink() and content["sheet"] == SHEET_NAME and "examples" in content
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
