"""An image and its mirror image, located each for itself, and the mean of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.matching.locators import Example, Located, Locator, QueryView
from fewshot_seg.prompts.hints import Marks


@dataclass(frozen=True, eq=False)
class MirroredLocator:
    """Another locator, asked twice: of a query, and of its mirror image (`features.Features.mirrored`).

    Attributes:
        locator: the one that is asked.
    """

    locator: Locator

    def prepare(self, classes: Sequence[Sequence[Example]]) -> Any:
        """As the other locator."""
        return self.locator.prepare(classes)

    def locate(self, query: QueryView, prepared: Any) -> Located:
        """The mean of both maps and of both scores."""
        plain = self.locator.locate(query, prepared)
        other = query.features.mirrored
        if other is None:
            return plain
        marks = tuple(_mirrored(one) for one in query.marks)
        turned = self.locator.locate(QueryView(other, marks), prepared)
        maps = _mean(plain.maps, turned.maps[:, :, ::-1])
        return plain._replace(maps=maps, scores=_mean(plain.scores, turned.scores))


def _mean(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((one + other) * np.float32(0.5), dtype=np.float32)


def _mirrored(marks: Marks | None) -> Marks | None:
    if marks is None:
        return None
    foreground, background, inside = (None if part is None else np.ascontiguousarray(part[:, ::-1]) for part in marks)
    assert foreground is not None
    assert background is not None
    return Marks(foreground, background, inside)
