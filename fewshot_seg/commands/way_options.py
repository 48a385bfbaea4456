"""The options by which a user says how objects are to be found and cut."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "EXAMPLES",
    "Always",
    "Joint",
    "LocateBy",
    "Located",
    "MatcherName",
    "Not",
    "Presence",
    "Quality",
    "Refine",
    "Refined",
    "WayChoice",
]

EXAMPLES = """
fewshot-seg segment photos/ --support cup=cup.jpg --joint --quality best --out results

fewshot-seg segment photos/ --support cup=cup.jpg --not jug.jpg --not empty-table.jpg --out results
"""

_PANEL = "How objects are found"


class Quality(StrEnum):
    """How much time a query may take."""

    fast = "fast"
    default = "default"
    best = "best"


class LocateBy(StrEnum):
    """What says where the object is."""

    auto = "auto"
    matching = "matching"
    correspondence = "correspondence"
    attention = "attention"


class Refine(StrEnum):
    """How a map becomes a mask."""

    grabcut = "grabcut"
    random_walk = "random-walk"
    none = "none"


Not = Annotated[
    list[str] | None,
    typer.Option(
        "--not",
        metavar="PATH",
        help="An image, or a folder of them, of what is not meant: what it shows gets no mask. Repeat it for more.",
        rich_help_panel=_PANEL,
    ),
]
Joint = Annotated[
    bool,
    typer.Option(
        "--joint",
        help="All queries together: the surest of them become further examples for the others. Takes twice the time.",
        rich_help_panel=_PANEL,
    ),
]
WayChoice = Annotated[
    Quality,
    typer.Option(
        "--quality",
        "-q",
        help="fast: no clean edges; best: each query also in its mirror image, and cut at a larger size.",
        rich_help_panel=_PANEL,
    ),
]
Refined = Annotated[
    Refine | None,
    typer.Option(
        "--refine",
        help="grabcut: clean edges; random-walk: its rival; none: faster. By default what --quality says.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
Presence = Annotated[
    float | None,
    typer.Option(
        "--presence",
        min=0.0,
        max=1.0,
        help="An object whose score is below this is not there, and its mask is empty. The default is measured; it "
        "needs a matcher, for only its score is a probability.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
Always = Annotated[
    bool, typer.Option("--always", help="The objects are there, whatever their scores.", rich_help_panel=_PANEL)
]
Located = Annotated[
    LocateBy,
    typer.Option(
        "--locate-by",
        help="matching: by a trained matcher; correspondence: without training; attention: similarity attention "
        "alone; auto: matching where there is a matcher for the weights.",
        rich_help_panel=_PANEL,
    ),
]
MatcherName = Annotated[
    str,
    typer.Option(
        "--matcher",
        metavar="NAME",
        help="auto, none, a name, or a file from 'train-embed matcher'.",
        rich_help_panel=_PANEL,
    ),
]
