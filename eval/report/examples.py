"""Which episodes a report draws: some at random, the worst and the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.scoring import EpisodeScore

__all__ = ["Group", "choose"]


@dataclass(frozen=True)
class Group:
    """Episodes to be drawn under one heading; `places` count within the run."""

    title: str
    note: str
    places: tuple[int, ...]


def choose(scores: Sequence[EpisodeScore], count: int, seed: int = 0) -> list[Group]:
    """Groups of at most `count` episodes, the same ones for the same scores and seed.

    The random ones are drawn from all episodes; the worst and the best have a query image at most once. A run
    of few episodes is one group of all of them.
    """
    drawn = np.argsort(np.random.Philox(key=seed).random_raw(len(scores)), kind="stable").tolist()
    ranked = sorted(drawn, key=lambda place: _key(scores[place]))  # the draw decides between equals
    if len(scores) <= 2 * count:
        return [Group("All of them", "The worst first.", tuple(ranked))] if count else []
    known = [place for place in ranked if not math.isnan(scores[place].miou)]
    return [
        Group("Drawn at random", "What to expect, good and bad.", tuple(sorted(drawn[:count]))),
        Group("The worst", "By IoU, each query image once.", _distinct(scores, known, count)),
        Group("The best", "By IoU, each query image once.", _distinct(scores, known[::-1], count)),
    ][: 3 if count else 0]


def _key(score: EpisodeScore) -> float:
    return math.inf if math.isnan(score.miou) else score.miou


def _distinct(scores: Sequence[EpisodeScore], places: Sequence[int], count: int) -> tuple[int, ...]:
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(scores[place].query, place)
    return tuple(first.values())[:count]
