"""One decision over all classes: probabilities of a random matcher over random features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.matching.features import LAST, Features
from fewshot_seg.matching.locators import EncodedQuery, Example, Located
from fewshot_seg.matching.locators.by_matching import MatchingLocator
from fewshot_seg.matching.matcher import Encoded, Matcher, MatcherSpec
from fewshot_seg.prompts.constraints import Constraints

LAYERS = {"early": 5, "late": 7}


@pytest.fixture(scope="module")
def locator() -> MatchingLocator:
    torch.manual_seed(0)
    spec = MatcherSpec("none", LAYERS, "late", channels=6, objects=4, vectors=6, hidden=5)
    return MatchingLocator(Matcher(spec).eval(), torch.randn(9, 6), 2)


def features(locator: MatchingLocator, seed: int) -> Features:
    made = torch.Generator().manual_seed(seed)
    layers = {name: torch.rand(1, count, 8, 8, generator=made) for name, count in LAYERS.items()}
    with torch.inference_mode():
        encoded = Encoded(*(part[0] for part in locator.matcher.encode(locator.matcher.stack(layers))))
    last = torch.rand(6, 4, 4, generator=made)
    return Features({LAST: last}, torch.randn(6, generator=made), (64, 64), encoded)


def locate(
    locator: MatchingLocator,
    query: Features,
    classes: Sequence[Sequence[Example]],
    constraints: Sequence[Constraints | None] = (),
) -> Located:
    with torch.inference_mode():
        view = EncodedQuery(query, tuple(constraints) or (None,) * len(classes))
        return locator.locate(view, locator.prepare(classes))


def examples(locator: MatchingLocator, *seeds: int) -> list[Example]:
    return [Example(features(locator, seed)) for seed in seeds]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_probabilities_of_all_classes_add_up_to_at_most_1(locator: MatchingLocator, n: int, k: int, seed: int) -> None:
    classes = [examples(locator, *(seed + 10 * i + j + 1 for j in range(k))) for i in range(n)]
    found = locate(locator, features(locator, seed), classes)
    assert found.maps.shape == (n, 8, 8)
    assert found.probabilistic
    assert found.maps.min() >= 0
    assert found.maps.sum(0).max() <= 1 + 1e-6
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


def test_permuting_classes_permutes_maps_and_permuting_shots_nothing(locator: MatchingLocator) -> None:
    classes = [examples(locator, 1, 2, 3), examples(locator, 4), examples(locator, 5, 6)]
    query = features(locator, 0)
    expected = locate(locator, query, classes)
    found = locate(locator, query, [classes[2], classes[0][::-1], classes[1]])
    np.testing.assert_allclose(found.maps, expected.maps[[2, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(found.scores, expected.scores[[2, 0, 1]], atol=1e-5)


def test_another_class_changes_what_a_class_gets(locator: MatchingLocator) -> None:
    own, other = examples(locator, 1), examples(locator, 2)
    query = features(locator, 0)
    alone, both = locate(locator, query, [own]), locate(locator, query, [own, other])
    assert not np.allclose(alone.maps[0], both.maps[0], atol=1e-3)
    assert alone.scores[0] == pytest.approx(both.scores[0], abs=1e-6), "a score is of the class itself"


def test_the_same_class_twice_is_shared_equally(locator: MatchingLocator) -> None:
    own = examples(locator, 1)
    found = locate(locator, features(locator, 0), [own, own])
    np.testing.assert_allclose(found.maps[0], found.maps[1], atol=1e-6)
    assert found.maps.max() <= 0.5
