"""Names of cameras and identities, by one rule for tables, indexes, file names, options and configurations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from fewshot_seg.errors import describe
from fewshot_seg.imaging.find import natural_key

Camera = int | str
"""A camera's number, or its name where that is no number."""

_CAMERA: Final = re.compile(r"(?:c|cam|camera)?[ _-]?0*(\d{1,18})(?:\.0*)?", re.ASCII | re.IGNORECASE)
_WHOLE: Final = re.compile(r"(-?\d+)\.0*", re.ASCII)
_SHOWN: Final = 10


def camera_of_text(text: object) -> Camera:
    """The camera meant: "1", "01", "1.0", "c1", "cam1" and "Camera 1" are 1; any other text is a name, as written."""
    written = str(text).strip()
    found = _CAMERA.fullmatch(written)
    return written if found is None else int(found[1])


def id_of_text(text: str) -> str:
    """Who is meant: "12.0", as a table of numbers has it, is "12"; any other text is a name, as written."""
    found = _WHOLE.fullmatch(text)
    return text if found is None else found[1]


def camera_numbers(cameras: Sequence[Camera]) -> list[int]:
    """A number for each, equal where the cameras are."""
    places: dict[Camera, int] = {}
    return [places.setdefault(camera, len(places)) for camera in cameras]


def list_cameras(cameras: Iterable[Camera]) -> str:
    """Those that there are, each once, in natural order, for a message: the first ten."""
    known = sorted({describe(str(camera)) for camera in cameras}, key=natural_key)
    return ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "") if known else "none"
