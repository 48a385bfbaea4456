"""The skeleton of a report: one HTML file with its styles, script and pictures inside. It asks for nothing else.

A content security policy holds the browser to that: no request leaves the page, and no script runs but ours.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.report.html import Html, element, join
from fewshot_seg.imaging.export import atomic_file

__all__ = ["Section", "data_uri", "document", "write_page"]

JPEG_QUALITY, COARSE = 82, 60
SMALLEST = 48  # side of a picture


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading, which the navigation names too.

    Attributes:
        anchor: its id: letters, digits and "-".
        title: the heading.
        body: markup.
        note: a paragraph of text under the heading.
    """

    anchor: str
    title: str
    body: Html
    note: str = ""


def document(title: str, subtitle: str, sections: Sequence[Section], *, notices: Sequence[str] = ()) -> str:
    """A whole page.

    Args:
        title: of the page.
        subtitle: a line of text under it.
        sections: from top to bottom.
        notices: what a reader has to know before any figure, one paragraph each.

    Returns:
        HTML; the same arguments give the same text.
    """
    style, script = _resource("page.css"), _resource("page.js")
    links = [element("a", one.title, href=f"#{one.anchor}") for one in sections]
    head = element("header", element("h1", title), element("p", subtitle, class_="subtitle"))
    parts = [
        element("a", "Skip to the content", class_="skip", href="#content"),
        head,
        element("nav", *links, aria_label="Sections"),
        element("main", _notices(notices), *map(_section, sections), id="content"),
    ]
    return "<!DOCTYPE html>\n" + element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", title),
            element("style", Html(style)),
        ),
        Html("\n"),
        element("body", join(parts, "\n"), element("script", Html(script))),
        Html("\n"),
        lang="en",
    )


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    with atomic_file(path) as stream:
        stream.write(page.encode("utf-8"))


def data_uri(image: NDArray[np.uint8], side: int, limit: int | None = None) -> tuple[str, int, int]:
    """An (H, W, 3) uint8 RGB image as a JPEG within the page: its URI, width and height.

    Args:
        image: shrunk to `side`, never enlarged.
        side: of the longer edge, in pixels.
        limit: of the URI's length. A picture that would be longer is drawn coarser, then smaller.
    """
    quality = JPEG_QUALITY
    while True:
        uri, width, height = _encode(image, side, quality)
        if limit is None or len(uri) <= limit or side <= SMALLEST:
            return uri, width, height
        quality, side = (COARSE, side) if quality > COARSE else (COARSE, max(SMALLEST, side * 3 // 4))


def _encode(image: NDArray[np.uint8], side: int, quality: int) -> tuple[str, int, int]:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Full colour resolution: thin coloured outlines are what these pictures are about.
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{encoded}", picture.width, picture.height


def _section(section: Section) -> Html:
    note = element("p", section.note, class_="note") if section.note else Html("")
    heading = element("h2", section.title, id=f"{section.anchor}-title")
    return element("section", heading, note, section.body, id=section.anchor, aria_labelledby=f"{section.anchor}-title")


def _notices(notices: Sequence[str]) -> Html:
    if not notices:
        return Html("")
    return element("aside", *(element("p", one) for one in notices), class_="notices", aria_label="Please note")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _resource(name: str) -> str:
    return "\n" + resources.files("eval.report").joinpath(name).read_text(encoding="utf-8")
