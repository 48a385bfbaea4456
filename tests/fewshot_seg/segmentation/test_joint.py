"""Queries that help each other: who helps, and that neither order nor batches nor copies change what comes out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, FewShotError, ImageError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.matching.features import LAST, Features
from fewshot_seg.matching.locators import Example, Located
from fewshot_seg.network.embedder import build_embedder
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.segmentation.joint import MOST, Helpers, digest_of, enlarged, sure_constraints
from fewshot_seg.segmentation.segmenter import Segmentation, Segmenter, SegmenterOptions

Image = NDArray[np.uint8]


def features(number: int) -> Features:
    vector = torch.randn(8, generator=torch.Generator().manual_seed(number))
    return Features({LAST: torch.zeros(2, 3, 3)}, vector, (30, 40))


def located(*sureness: float, score: float = 1.0, probabilistic: bool = True) -> Located:
    """One map for each class: its left half is so sure, its right half as sure not to be the object."""
    maps = np.zeros((len(sureness), 4, 6), np.float32)
    for map_, value in zip(maps, sureness, strict=True):
        map_[:, :3], map_[:, 3:] = value, min(value, 1 - value)
    return Located(maps, np.full(len(sureness), score, np.float32), probabilistic)


def chosen(helpers: Helpers) -> list[list[bytes]]:
    return [[digest_of(one.features) for one in own] for own in helpers.examples()]


def test_the_surest_help_whatever_the_order() -> None:
    queries = [(features(i), located(value, 1 - value)) for i, value in enumerate((0.75, 0.95, 0.9, 0.05))]
    expected = [[digest_of(features(1)), digest_of(features(2))], [digest_of(features(3))]]
    for order in itertools.permutations(queries):
        helpers = Helpers([[], []], most=2)
        for query in order:
            helpers.add(*query)
        assert chosen(helpers) == expected


def test_of_equals_the_same_are_chosen_in_any_order() -> None:
    queries = [(features(i), located(0.9)) for i in range(4)]
    results = []
    for order in itertools.permutations(queries):
        helpers = Helpers([[]], most=2)
        for query in order:
            helpers.add(*query)
        results.append(chosen(helpers))
    assert all(one == results[0] for one in results)


def test_no_more_are_held_than_help() -> None:
    helpers = Helpers([[]])
    for i in range(3 * MOST):
        helpers.add(features(i), located(0.8 + i / 1000))
    assert len(helpers.examples()[0]) == MOST
    assert helpers.holds(features(3 * MOST - 1))
    assert not helpers.holds(features(0))


def test_an_image_that_comes_twice_counts_once_as_its_surer_self() -> None:
    for order in ((0.8, 0.95), (0.95, 0.8)):
        helpers = Helpers([[]])
        for value in order:
            helpers.add(features(1), located(value))
        ((only,),) = helpers.examples()
        assert only.constraints is not None
        assert only.constraints.background.any(), "the surer map knows background, too"


def test_supports_the_improbable_and_the_undecided_do_not_help() -> None:
    helpers = Helpers([[Example(features(1))]])
    helpers.add(features(1), located(0.9))
    helpers.add(features(2), located(0.9, score=0.49))
    helpers.add(features(3), located(0.6))
    assert helpers.examples() == [[]]
    helpers.add(features(2), located(0.9, score=0.49, probabilistic=False))
    assert len(helpers.examples()[0]) == 1, "a cosine is no probability"


def test_what_is_sure_of_a_map_is_known_and_the_rest_is_not() -> None:
    constraints = sure_constraints(np.array([[0, 0.1, 0.2], [0.5, 0.7, 1]], np.float32))
    assert constraints.background.tolist() == [[True, True, False], [False] * 3]
    assert constraints.foreground.tolist() == [[False] * 3, [False, True, True]]
    assert constraints.inside is None


def test_a_helper_is_helped_by_the_others_alone() -> None:
    helpers = Helpers([[], []])
    for i in range(3):
        helpers.add(features(i), located(0.8 + i / 100, 0.9))
    made: list[list[list[bytes]]] = []

    def enlarge(more: Sequence[Sequence[Example]]) -> int:
        made.append([[digest_of(one.features) for one in own] for own in more])
        return len(made)

    ready = enlarged(helpers, enlarge)
    assert ready(features(9)) == ready(features(8)) == 1, "prepared once for all who don't help"
    assert [len(own) for own in made[0]] == [3, 3]
    number = ready(features(1))
    assert all(len(own) == 2 and digest_of(features(1)) not in own for own in made[number - 1])


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    embedder = build_embedder(
        EmbedderSpec("timm/test_efficientnet", classes=10, preprocessing=Preprocessing(size=96)), weights=False
    )
    return Segmenter(embedder, SegmenterOptions(locate_by="correspondence", rounds=1, refine="none", threads=1))


@pytest.fixture(scope="module")
def cat() -> Image:
    return np.asarray(skimage.data.chelsea())[::2, ::2].copy()


@pytest.fixture(scope="module")
def folder(cat: Image) -> list[Image]:
    cup = np.asarray(skimage.data.coffee())[::3, ::3].copy()
    return [cat[:, ::-1].copy(), cup, cat[10:], cat[:, 20:], cup[:, ::-1].copy(), np.full_like(cat, 128), cat[10:]]


def same(a: Segmentation | FewShotError, b: Segmentation | FewShotError) -> bool:
    assert isinstance(a, Segmentation)
    assert isinstance(b, Segmentation)
    maps = (np.array_equal(x.attention_map, y.attention_map) for x, y in zip(a.objects, b.objects, strict=True))
    return np.array_equal(a.label_map, b.label_map) and all(maps)


def test_order_batches_and_workers_change_nothing(segmenter: Segmenter, cat: Image, folder: list[Image]) -> None:
    prepared = segmenter.prepare({"cat": cat, "other": folder[1][20:]}, negatives=folder[5])
    expected = list(segmenter.segment_jointly(folder, prepared))
    alone = list(segmenter.segment_many(folder, prepared))
    assert not all(same(a, b) for a, b in zip(alone, expected, strict=True)), "somebody was helped"
    assert same(expected[2], expected[6]), "the same image twice"
    for batch_size, workers, order in ((1, 1, range(7)), (3, 2, [6, 2, 0, 5, 1, 3, 4])):
        found = list(segmenter.segment_jointly([folder[i] for i in order], prepared, batch_size, workers))
        assert all(same(one, expected[i]) for one, i in zip(found, order, strict=True))


def test_nobody_helps_where_nobody_is_there(segmenter: Segmenter, cat: Image, folder: list[Image]) -> None:
    for queries in ([folder[0]], [cat], [folder[2], folder[6]]):
        alone = segmenter.segment_many(queries, cat)
        assert all(same(a, b) for a, b in zip(segmenter.segment_jointly(queries, cat), alone, strict=True))
    assert list(segmenter.segment_jointly([], cat)) == []


def test_errors_come_in_their_turn(segmenter: Segmenter, cat: Image) -> None:
    queries = [cat, "no-such-file.jpg", cat[10:]]
    first, second, third = segmenter.segment_jointly(queries, cat, on_error="yield")
    assert isinstance(second, ImageError)
    without = list(segmenter.segment_jointly([cat, cat[10:]], cat))
    assert same(first, without[0])
    assert same(third, without[1])
    results = segmenter.segment_jointly(queries, cat)
    next(results)
    with pytest.raises(ImageError):
        next(results)
    with pytest.raises(ConfigError):
        segmenter.segment_jointly(queries, cat, batch_size=0)
