"""Which episodes or queries a report draws: some at random, the worst and the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Group:
    """Episodes or queries to be drawn under one heading; `places` count within the run."""

    title: str
    note: str
    places: tuple[int, ...]


def groups_of(values: Sequence[float], images: Sequence[str], count: int, rule: str, seed: int = 0) -> list[Group]:
    """Groups of at most `count` places, the same ones for the same values and seed.

    The random ones are drawn from all; the worst and the best have an image at most once. A run of few is one group
    of all of them.

    Args:
        values: a value for each place, larger is better; NaN where there is none.
        images: of each place.
        count: see above; 0 gives no group.
        rule: a sentence on how the worst and the best are chosen.
        seed: decides the draw, and between equals.
    """
    drawn = np.argsort(np.random.Philox(key=seed).random_raw(len(values)), kind="stable").tolist()
    ranked = sorted(drawn, key=lambda place: math.inf if math.isnan(values[place]) else values[place])
    if len(values) <= 2 * count:
        return [Group("All of them", "The worst first.", tuple(ranked))] if count else []
    known = [place for place in ranked if not math.isnan(values[place])]
    return [
        Group("Drawn at random", "What to expect, good and bad.", tuple(sorted(drawn[:count]))),
        Group("The worst", rule, _distinct(images, known, count)),
        Group("The best", rule, _distinct(images, known[::-1], count)),
    ][: 3 if count else 0]


def _distinct(images: Sequence[str], places: Sequence[int], count: int) -> tuple[int, ...]:
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(images[place], place)
    return tuple(first.values())[:count]
