"""The same thing or the same kind: what appearance changes of another locator's maps, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fewshot_seg.matching.features import LAST, Features
from fewshot_seg.matching.locators import EncodedQuery, Example, Located
from fewshot_seg.matching.locators.by_meaning import Meaning, MeaningLocator
from fewshot_seg.prompts.constraints import Constraints

SIZES = {"blocks.2": 16, "blocks.3": 8, "blocks.4": 8, "blocks.5": 4, "blocks.6": 4}


class Fixed:
    """A locator that always says the same."""

    def __init__(self, *maps: NDArray[np.float32], shots: tuple[torch.Tensor, ...] = ()) -> None:
        self.maps, self.shots = np.stack(maps), shots

    def prepare(self, classes: Sequence[Sequence[Example]]) -> int:
        return len(classes)

    def locate(self, query: EncodedQuery, prepared: Any) -> Located:
        return Located(self.maps, np.full(len(self.maps), 0.5, np.float32), probabilistic=True, shots=self.shots)


def features(seed: int, layers: bool = True) -> Features:
    made = torch.Generator().manual_seed(seed)
    maps = {name: torch.randn(12, side, side, generator=made) for name, side in SIZES.items()} if layers else {}
    return Features({LAST: torch.zeros(2, 4, 4), **maps}, torch.zeros(2), (64, 64))


def mask(rows: slice, columns: slice) -> Constraints:
    foreground = np.zeros((64, 64), bool)
    foreground[rows, columns] = True
    return Constraints(foreground, ~foreground)


LEFT, RIGHT = mask(slice(16, 48), slice(0, 32)), mask(slice(16, 48), slice(32, 64))


def flat(value: float) -> NDArray[np.float32]:
    return np.full((8, 8), value, np.float32)


def locate(base: Fixed, meaning: Meaning, query: Features, *classes: Sequence[Example]) -> Located:
    locator = MeaningLocator(base, meaning)
    with torch.inference_mode():
        return locator.locate(EncodedQuery(query, (None,) * len(classes)), locator.prepare(classes))


@pytest.mark.parametrize("meaning", ["auto", "kind"])
def test_without_a_mask_and_in_another_scene_nothing_changes(meaning: Meaning) -> None:
    base = Fixed(flat(0.3), shots=(torch.full((1, 8, 8), 0.7),))
    found = locate(base, meaning, features(0), [Example(features(1))])
    assert found.maps is base.maps
    assert found.meanings == (0.0,)


def test_a_backbone_without_layers_is_left_alone() -> None:
    base = Fixed(flat(0.3))
    assert (
        locate(base, "thing", features(0, layers=False), [Example(features(1, layers=False), LEFT)]).maps is base.maps
    )


def test_the_support_itself_as_a_query_is_the_same_scene_and_its_mask_is_found() -> None:
    found = locate(Fixed(flat(0.5)), "auto", features(0), [Example(features(0), LEFT)])
    assert found.meanings == (1.0,)
    assert found.maps.shape == (1, 16, 16)
    assert ((found.maps[0] > 0.5) == (LEFT.foreground[::4, ::4])).all()
    assert found.scores[0] > 0.9


def test_a_mask_is_evidence_for_the_kind_too() -> None:
    found = locate(Fixed(flat(0.5)), "kind", features(0), [Example(features(0), LEFT)])
    assert found.meanings == (0.0,)
    assert found.maps.shape == (1, 8, 8)
    assert found.maps[0, 3:5, 1:3].min() > 0.9 > 0.5 > found.maps[0, 3:5, 5:7].max()
    assert 0 < found.scores[0] < 1


def test_what_another_class_s_mask_shows_speaks_against_this_one() -> None:
    both = [Example(features(0), LEFT)], [Example(features(0), RIGHT)]
    found = locate(Fixed(flat(0.4), flat(0.4)), "thing", features(0), *both)
    assert (found.maps.sum(0) <= 1 + 1e-6).all()
    assert (found.maps[0][LEFT.foreground[::4, ::4]] > 0.5).all()
    assert (found.maps[1][RIGHT.foreground[::4, ::4]] > 0.5).all()


def test_a_guessed_foreground_serves_where_there_is_no_mask() -> None:
    guess = torch.from_numpy(LEFT.foreground[::8, ::8].astype(np.float32))[None]
    found = locate(Fixed(flat(0.5), shots=(guess,)), "thing", features(0), [Example(features(0))])
    assert found.maps[0, 5:11, 1:7].min() > 0.5 > found.maps[0, 5:11, 9:15].max()
    assert found.scores[0] > 0.5
