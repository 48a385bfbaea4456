"""Correspondence without training: formulas against slow loops, and what must change nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.matching import training_free
from fewshot_seg.matching.rounds import Prior
from fewshot_seg.matching.training_free import Negative, Scene, locate, scene_of
from fewshot_seg.network.embedding import Embedding
from fewshot_seg.network.heads import PooledHead

C, H = 6, 5


def embedder(classes: int = 4) -> Any:
    torch.manual_seed(1)
    classifier = nn.Linear(C, classes).double() if classes else None
    return SimpleNamespace(head=PooledHead(C), classifier=classifier)


def scenes(count: int, seed: int = 0, layers: bool = True) -> Scene:
    made = torch.Generator().manual_seed(seed)
    feature_map = torch.rand(count, C, H, H, generator=made, dtype=torch.float64)
    other = torch.randn(count, 3, 2 * H, 2 * H, generator=made, dtype=torch.float64)
    emb = Embedding(feature_map, PooledHead(C)(feature_map))
    return scene_of(emb, {"a": feature_map, "b": other} if layers else None)


def picked(scene: Scene, index: Tensor | slice) -> Scene:
    emb = Embedding(*(part[index] for part in scene.emb))
    return Scene(emb, scene.stacked[index], scene.salience[index])


def square(count: int = 1) -> Tensor:
    mask = torch.zeros(count, 2 * H, 2 * H, dtype=torch.float64)
    mask[:, 2:6, 3:8] = 1
    return mask


@settings(max_examples=12, deadline=None)
@given(
    b=st.integers(1, 3),
    k=st.integers(1, 3),
    classes=st.sampled_from([0, 4]),
    layers=st.booleans(),
    negatives=st.integers(0, 2),
)
def test_maps_lie_in_0_1_whatever_is_given(b: int, k: int, classes: int, layers: bool, negatives: int) -> None:
    others = [Negative(scenes(i + 1, 7 + i, layers)) for i in range(negatives)]
    found = locate(embedder(classes), scenes(b, 1, layers), scenes(b * k, 2, layers), others)
    size = 2 * H if layers else H
    assert found.query.shape == (b, size, size)
    assert found.shots.shape == (b, k, size, size)
    for maps in found:
        assert torch.isfinite(maps).all()
        assert maps.min() >= 0
        assert maps.max() <= 1


@pytest.mark.parametrize("classes", [0, 4])
def test_order_of_shots_and_rivals_changes_nothing(classes: int) -> None:
    query, shots, order = scenes(1, 1), scenes(3, 2), torch.tensor([2, 0, 1])
    others = [Negative(scenes(2, 3)), Negative(scenes(1, 4), square())]
    one = locate(embedder(classes), query, shots, others)
    turned = locate(embedder(classes), query, picked(shots, order), others[::-1])
    assert torch.allclose(one.query, turned.query, atol=1e-9)
    assert torch.allclose(one.shots[:, order], turned.shots, atol=1e-9)


def test_a_batch_is_its_episodes_one_by_one() -> None:
    query, shots = scenes(3, 1), scenes(6, 2)
    together = locate(embedder(), query, shots, [Negative(scenes(2, 3))])
    for i in range(3):
        alone = locate(
            embedder(),
            picked(query, slice(i, i + 1)),
            picked(shots, slice(2 * i, 2 * i + 2)),
            [Negative(scenes(2, 3))],
        )
        assert torch.allclose(together.query[i], alone.query[0], atol=1e-9)
        assert torch.allclose(together.shots[i], alone.shots[0], atol=1e-9)


def test_what_the_user_knows_is_what_comes_out_and_moves_the_query() -> None:
    query, shots, mask = scenes(1, 1), scenes(2, 2), square(2)
    without = locate(embedder(), query, shots)
    query_prior = locate(embedder(), query, shots, shot_prior=Prior(mask, torch.ones_like(mask)))
    assert torch.equal(query_prior.shots[0], mask)
    assert not torch.allclose(query_prior.query, without.query, atol=1e-3)
    asked = locate(embedder(), query, shots, query_prior=Prior(square(), torch.ones_like(square())))
    assert torch.equal(asked.query, square())


def patched(places: dict[int, tuple[int, int]], seed: int) -> Scene:
    """One image of quiet ground with patches of features: number of the patch -> its row and column."""
    made = torch.Generator().manual_seed(seed)
    ground = torch.rand(1, C, 8, 8, generator=made, dtype=torch.float64) * 0.3
    for patch, (row, column) in places.items():
        values = torch.rand(C, 1, 1, generator=torch.Generator().manual_seed(patch), dtype=torch.float64) + 1
        ground[0, :, row : row + 2, column : column + 2] = values
    return scene_of(Embedding(ground, PooledHead(C)(ground)))


def test_an_object_that_both_show_is_found_wherever_it_is() -> None:
    found = locate(embedder(0), patched({50: (1, 3)}, 1), patched({50: (5, 4)}, 2)).query[0]
    place = torch.zeros(8, 8, dtype=torch.bool)
    place[1:3, 3:5] = True
    assert found[place].min() > found[~place].max()


def test_of_two_shared_objects_a_rival_takes_its_own_away() -> None:
    query, support = patched({50: (0, 0), 61: (5, 5)}, 1), patched({50: (4, 1), 61: (1, 5)}, 2)
    shows = torch.zeros(1, 8, 8, dtype=torch.float64)
    shows[:, 3:5, 3:5] = 1
    without, against, whole = (
        locate(embedder(0), query, support, others).query[0]
        for others in ([], [Negative(patched({61: (3, 3)}, 3), shows)], [Negative(patched({61: (3, 3)}, 3))])
    )
    for found in (against, whole):
        lead = found[:2, :2].mean() - found[5:7, 5:7].mean()
        assert lead > without[:2, :2].mean() - without[5:7, 5:7].mean() + 0.01


def test_layers_count_alike_whatever_their_scale() -> None:
    feature_map = torch.rand(2, C, H, H, dtype=torch.float64)
    emb = Embedding(feature_map, PooledHead(C)(feature_map))
    one = scene_of(emb, {"a": feature_map, "b": 2 * feature_map})
    other = scene_of(emb, {"a": 1000 * feature_map, "b": feature_map})
    assert torch.allclose(one.stacked, other.stacked)
    assert torch.allclose(one.stacked.square().sum(1).mean((1, 2)), torch.full((2,), 2.0, dtype=torch.float64))


def test_flat_images_give_maps_without_nan() -> None:
    feature_map = torch.ones(1, C, H, H, dtype=torch.float64)
    scene = scene_of(Embedding(feature_map, PooledHead(C)(feature_map)))
    for maps in locate(embedder(), scene, scene):
        assert torch.equal(maps, torch.zeros_like(maps))


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(ShapeError, match="3 shots cannot be shared equally by 2 queries"):
        locate(embedder(), scenes(2), scenes(3))
    with pytest.raises(ConfigError, match="rounds 0"):
        locate(embedder(), scenes(1), scenes(1), rounds=0)
    assert training_free.LAYERS
