"""Reports as HTML from Jinja's templates, which escape all text, so that no name in the data can become markup.

A report is one file with its styles, script and pictures inside. A content security policy holds the browser to that.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError
from markupsafe import Markup
from numpy.typing import NDArray

from eval.tables.table import Table, percent
from fewshot_seg.errors import describe

JPEG_QUALITY, COARSE = 82, 60
SMALLEST = 48  # side of a picture
BINS = 20  # of a histogram


@dataclass(frozen=True)
class Frame:
    """How large pictures may be: their longer edge in pixels, and the length of each in the page."""

    side: int = 320
    limit: int | None = None

    @property
    def half(self) -> Frame:
        """Half as wide and high."""
        return Frame(self.side // 2, None if self.limit is None else self.limit // 4)


@dataclass(frozen=True)
class Picture:
    """A JPEG within the page, and its size in pixels."""

    uri: str
    width: int
    height: int


def picture(image: NDArray[np.uint8], frame: Frame) -> Picture:
    """An (H, W, 3) uint8 RGB image, shrunk to the frame's side, never enlarged.

    One whose URI would be longer than the frame's limit is drawn coarser, then smaller.
    """
    quality, side = JPEG_QUALITY, frame.side
    while True:
        drawn = _encode(image, side, quality)
        if frame.limit is None or len(drawn.uri) <= frame.limit or side <= SMALLEST:
            return drawn
        quality, side = (COARSE, side) if quality > COARSE else (COARSE, max(SMALLEST, side * 3 // 4))


def render(template: str, **values: Any) -> str:
    """A template of `templates/` with values; the same values give the same text. LookupError: one is missing."""
    try:
        return _environment().get_template(template).render(values)
    except UndefinedError as error:
        raise LookupError(f"the report needs a value that isn't there: {error}") from error


def tables_page(title: str, subtitle: str, tables: Sequence[Table]) -> str:
    """Tables as a page of their own."""
    sections = {f"table-{number}": one.title for number, one in enumerate(tables)}
    return render("tables.html", title=title, subtitle=subtitle, tables=tables, sections=sections)


@cache
def _environment() -> Environment:
    loader = PackageLoader("eval.report")
    made = Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    style, script = (loader.get_source(made, name)[0] for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    made.globals |= {"style": Markup(style), "script": Markup(script), "script_digest": digest}
    made.filters |= {
        "percent": percent,
        "place": _place,
        "counted": _counted,
        "pretty": partial(json.dumps, indent=1, ensure_ascii=False),
        "describe": describe,
    }
    made.tests["nested"] = _is_nested
    return made


def _shown(value: object) -> object:
    """What stands in a page: None as nothing; control characters, and bytes that are no text, as escapes."""
    if isinstance(value, Markup):
        return value
    plain = "" if value is None else str(value).encode("utf-8", "backslashreplace").decode()
    return "".join(one if (one >= " " and one != "\x7f") or one == "\n" else f"\\x{ord(one):02x}" for one in plain)


def _place(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _counted(shares: Iterable[float]) -> list[int]:
    """How many shares in [0, 1] fall into each of `BINS` equal parts; values that aren't numbers are left out."""
    known = [value for value in shares if not math.isnan(value)]
    return list(np.histogram(known, bins=BINS, range=(0, 1))[0].tolist())


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))


def _encode(image: NDArray[np.uint8], side: int, quality: int) -> Picture:
    from PIL import Image

    shrunk = Image.fromarray(np.ascontiguousarray(image))
    shrunk.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Full colour resolution: thin coloured outlines are what these pictures are about.
    shrunk.save(stream, "JPEG", quality=quality, subsampling=0)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(f"data:image/jpeg;base64,{encoded}", shrunk.width, shrunk.height)
