"""Supports as the segmenter keeps them: encoded once, for any number of queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fewshot_seg.embedding import Embedder
from fewshot_seg.locators import Example

__all__ = ["Prepared"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Supports, encoded, in the form that the segmenter's way of locating objects wants.

    They mean something to the embedder that made them alone, so it is kept with them. `groups` counts the
    classes and, where there are any, the negatives as one more; `examples` are those of each. `notes` says which
    examples seem to show two different things, so that it is not clear which is meant; one line each.
    """

    classes: tuple[str, ...]
    groups: int
    state: Any = field(repr=False)
    embedder: Embedder = field(repr=False)
    examples: tuple[tuple[Example, ...], ...] = field(repr=False)
    notes: tuple[str, ...] = ()
