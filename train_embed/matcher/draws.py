"""Training episodes over views: which query, which supports, of which class. Pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError

_LEAST_AREA = 0.015  # of a view, for its class to be an episode's
_SHOTS = 3  # where there are several
_TRIES = 30


class Draws(NamedTuple):
    """One step's episodes.

    Attributes:
        queries: (B,) views.
        shots: (B,K) views, of other images than the query and than each other, as far as there are any.
        classes: (B,) labels, 1-based.
        absent: (B,) bool: the query shows nothing of the class.
        masked: the supports' masks are given, in all of them: a guess must not learn to count on what is known.
        dropout: the seed of what is dropped.
    """

    queries: NDArray[np.int64]
    shots: NDArray[np.int64]
    classes: NDArray[np.int64]
    absent: NDArray[np.bool_]
    masked: bool
    dropout: int


class Shares(NamedTuple):
    """How often things happen, each in [0, 1]: see `MatcherTraining`."""

    absent: float = 0.15
    masked: float = 0.25
    several: float = 0.25


class EpisodeSource:
    """Draws episodes.

    Args:
        areas: (T,L) float32, each class's share of each view.
        images: (T,) int64, the image of each view.
        held: labels (1-based) that no episode is of.
        shares: how often things happen.

    Raises:
        DataError: no class has two images, or no query could lack its class.
    """

    def __init__(
        self,
        areas: NDArray[np.float32],
        images: NDArray[np.int64],
        held: Collection[int],
        shares: Shares = Shares(),  # noqa: B008 - immutable
    ) -> None:
        self._areas, self._images, self._shares = areas, images, shares
        of_held = areas[:, [label - 1 for label in held]]
        self._without_held = np.flatnonzero(of_held.sum(1) == 0)
        if shares.absent > 0 and not len(self._without_held):
            raise DataError("every image shows a class that is held out: none is left that teaches what absence is")
        pools = {
            label: np.flatnonzero(areas[:, label - 1] > _LEAST_AREA)
            for label in range(1, areas.shape[1] + 1)
            if label not in held
        }
        counts = {label: len(np.unique(images[pool])) for label, pool in pools.items()}
        self._pools = {label: pool for label, pool in pools.items() if counts[label] >= 2}
        if not self._pools:
            raise DataError("no class to learn from: each needs two images that show it, and must not be held out")
        self.classes = tuple(self._pools)
        rates = np.sqrt([counts[label] for label in self.classes])
        self._rates = rates / rates.sum()

    def draw(self, seed: int, step: int, batch: int) -> Draws:
        """The episodes of a step, from 0: `batch` of them with one support, or half as many with three."""
        rng = np.random.default_rng([seed, step])
        shots = _SHOTS if rng.random() < self._shares.several else 1
        count = batch if shots == 1 else batch // 2
        chosen = rng.choice(len(self.classes), count, p=self._rates)
        found = [self._episode(rng, self.classes[place], shots) for place in chosen]
        return Draws(
            np.array([query for query, _, _ in found]),
            np.array([supports for _, supports, _ in found]),
            np.array([self.classes[place] for place in chosen]),
            np.array([absent for _, _, absent in found]),
            bool(rng.random() < self._shares.masked),
            int(rng.integers(2**62)),
        )

    def _episode(self, rng: np.random.Generator, label: int, shots: int) -> tuple[int, list[int], bool]:
        pool = self._pools[label]
        absent = bool(rng.random() < self._shares.absent)
        query = self._without(rng, label) if absent else None
        if query is None:
            absent, query = False, int(rng.choice(pool))
        used = {int(self._images[query])}
        supports = []
        for _ in range(shots):
            for _ in range(_TRIES):
                support = int(rng.choice(pool))
                if int(self._images[support]) not in used:
                    break
            supports.append(support)
            used.add(int(self._images[support]))
        return query, supports, absent

    def _without(self, rng: np.random.Generator, label: int) -> int | None:
        """A view that shows nothing of a class; None where none is found.

        Nor of the held out ones: these would only ever be seen where nothing is to be found, and be learnt as that.
        """
        for _ in range(_TRIES):
            view = int(rng.choice(self._without_held))
            if self._areas[view, label - 1] == 0:
                return view
        return None
