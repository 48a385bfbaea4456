"""Queries that help each other: the surest of them become further examples for all the others.

A first look at every query finds, for each class, the few whose object is surest. What is sure in their maps is
then known of them, as of a support with a hint; nothing is known of the rest of them. docs/quality.md tells what it
is worth on development images, and where it is worth nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.refine import expected_iou
from fewshot_seg.matching.features import Features
from fewshot_seg.matching.locators import Example, Located
from fewshot_seg.prompts.constraints import Constraints

MOST = 6
"""Helpers of each class. More were not better, and each makes every query slower."""

SURE_OBJECT, SURE_OTHER = 0.7, 0.1
"""A map's values from which on, and up to which, it is sure."""

_HALF = 0.5
_LEAST_SCORE = 0.5  # a probability: what is probably not there is no example

T = TypeVar("T")


def sure_constraints(map_: NDArray[np.float32]) -> Constraints:
    """What is sure in a map (h,w) in [0, 1], on its own grid."""
    return Constraints(map_ >= SURE_OBJECT, map_ <= SURE_OTHER)


class _Helper(NamedTuple):
    sureness: float
    digest: bytes  # of its features: names the image, and decides between equals
    example: Example


class Helpers:
    """The surest queries of each class among those that were shown so far; it holds no more than these.

    The surest are those whose mask should share most with the truth, going by their own maps.

    Which they are depends on the queries alone, not on their order. An image that comes twice counts once, and
    one that is a support already never helps.

    Args:
        supports: of each class.
        most: helpers of each class, at least 0.
    """

    def __init__(self, supports: Sequence[Sequence[Example]], most: int = MOST) -> None:
        self._known = [{digest_of(shot.features) for shot in shots} for shots in supports]
        self._best: list[list[_Helper]] = [[] for _ in supports]
        self._most = most

    def add(self, features: Features, located: Located) -> None:
        """Considers one query, by what was located in it, for every class."""
        digest = digest_of(features)
        for place, best in enumerate(self._best):
            map_, score = located.maps[place], float(located.scores[place])
            if digest in self._known[place] or (located.probabilistic and score < _LEAST_SCORE):
                continue
            constraints = sure_constraints(map_)
            if constraints.foreground.any():
                new = _Helper(expected_iou(map_ >= _HALF, map_), digest, Example(features, constraints))
                same = next((old for old in best if old.digest == digest), new)
                each = [old for old in best if old is not same] + [same if same.sureness >= new.sureness else new]
                best[:] = sorted(each, key=lambda one: (-one.sureness, one.digest))[: self._most]

    def holds(self, features: Features) -> bool:
        """Whether this image is a helper of any class."""
        digest = digest_of(features)
        return any(one.digest == digest for best in self._best for one in best)

    def examples(self, without: Features | None = None) -> list[list[Example]]:
        """Each class's helpers, the surest first; one image can be left out."""
        digest = None if without is None else digest_of(without)
        return [[one.example for one in best if one.digest != digest] for best in self._best]


def enlarged(helpers: Helpers, enlarge: Callable[[Sequence[Sequence[Example]]], T]) -> Callable[[Features], T]:
    """What a query is to be located by: supports that `enlarge` prepares with the helpers, but for the query itself."""
    for_others = enlarge(helpers.examples())
    return lambda query: enlarge(helpers.examples(without=query)) if helpers.holds(query) else for_others


def digest_of(features: Features) -> bytes:
    """A name for an image's features, the same for the same image."""
    vector = np.ascontiguousarray(features.vector.float().cpu().numpy())
    return hashlib.sha256(vector.data).digest()
