"""The options by which a user says what they know of an image: a mask, a box, points or a scribble."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLES = """
fewshot-seg segment photo.jpg --support cup=cup.jpg --support-mask cup=cup-mask.png --out results

fewshot-seg segment photo.jpg --support cup=table.jpg --support-box cup=120,80,200,160 --out results

fewshot-seg segment photo.jpg --support cup=table.jpg --support-points cup=220,160:30,40,bg --out results

fewshot-seg segment photo.jpg --support cup=table.jpg --query-box 40,30,300,200 --out results

fewshot-seg segment photos/ --support-annotations ten-labelled/ --out results

fewshot-seg segment photos/ -s cup=c.jpg -s jug=j.jpg --query-points photos/1.jpg=jug=90,70 --out results
"""

_SUPPORT_PANEL = "What is known of the examples"
_QUERY_PANEL = "What is known of the queries"
_BOX = "left, top, width, height in pixels; the object is nowhere outside of it"
_POINTS = "X,Y on the object and X,Y,bg beside it, in pixels, with colons between"
_SCRIBBLE = "an image of the same size: green (or 1) on the object, red (or 2) beside it"
_OF = "PATH= may be left out where there is one query, NAME= where there is one class"


Texts = list[str] | None


def _hint(whose: str, kind: str, form: str, text: str) -> Any:
    owner, panel = ("NAME=", _SUPPORT_PANEL) if whose == "support" else ("[PATH=][NAME=]", _QUERY_PANEL)
    return typer.Option(f"--{whose}-{kind}", metavar=f"{owner}{form}", help=text, rich_help_panel=panel)


_MASK = "Where the object is in an example: not 0. Of NAME the k-th for its k-th example, here and below; - for none."
_ANNOTATIONS = (
    "Annotated images as examples of all their classes: COCO's json, LabelMe's json, or a folder of them. May be "
    "repeated, and stand beside --support."
)
_QUERY_MASK = f"Where the object of class NAME is in the query PATH. {_OF}."


@dataclass(frozen=True)
class SupportHints:
    """The texts of `--support-mask` and its like, and files of annotated examples."""

    masks: Annotated[Texts, _hint("support", "mask", "PATH", _MASK)] = None
    boxes: Annotated[Texts, _hint("support", "box", "X,Y,W,H", f"The same as a box: {_BOX}.")] = None
    points: Annotated[Texts, _hint("support", "points", "X,Y[,bg]:...", f"Points: {_POINTS}.")] = None
    scribbles: Annotated[Texts, _hint("support", "scribble", "PATH", f"Strokes: {_SCRIBBLE}.")] = None
    annotations: Annotated[
        Texts,
        typer.Option("--support-annotations", metavar="FILE", help=_ANNOTATIONS, rich_help_panel=_SUPPORT_PANEL),
    ] = None
    annotated: Annotated[
        Path | None,
        typer.Option(
            "--support-images",
            metavar="DIR",
            help="Where the annotations' images are.",
            show_default="where the file says",
            rich_help_panel=_SUPPORT_PANEL,
        ),
    ] = None


@dataclass(frozen=True)
class QueryHints:
    """The texts of `--query-mask`, `--query-box`, `--query-points` and `--query-scribble`."""

    masks: Annotated[Texts, _hint("query", "mask", "MASK", _QUERY_MASK)] = None
    boxes: Annotated[Texts, _hint("query", "box", "X,Y,W,H", f"The same as a box: {_BOX}.")] = None
    points: Annotated[Texts, _hint("query", "points", "X,Y[,bg]:...", f"Points: {_POINTS}.")] = None
    scribbles: Annotated[Texts, _hint("query", "scribble", "FILE", f"Strokes: {_SCRIBBLE}.")] = None

    def texts(self) -> Iterator[tuple[str, str]]:
        """Each text with its kind."""
        kinds = {"mask": self.masks, "box": self.boxes, "points": self.points, "scribble": self.scribbles}
        yield from ((kind, text) for kind, texts in kinds.items() for text in texts or ())
