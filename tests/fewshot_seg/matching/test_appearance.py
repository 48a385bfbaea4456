"""Appearance against a slow, obvious reference."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewshot_seg.matching.appearance import COARSE, FINE, Keys, joined, keys_of, likeness, margin, sure_mean, together


def layers(seed: int, size: int = 8) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(seed)
    sizes = {
        "blocks.2": size,
        "blocks.3": size // 2,
        "blocks.4": size // 2,
        "blocks.5": size // 4,
        "blocks.6": size // 4,
    }
    return {name: torch.rand(5, side, side, generator=made) for name, side in sizes.items()}


def vectors(seed: int, size: int = 8) -> Tensor:
    found = joined(layers(seed, size), FINE)
    assert found is not None
    return found


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def test_layers_are_joined_on_the_first_ones_grid_and_count_alike() -> None:
    maps = layers(0)
    both = joined(maps, COARSE)
    assert both is not None
    assert both.shape == (15, 4, 4)
    torch.testing.assert_close(both.norm(dim=0), torch.ones(4, 4))
    torch.testing.assert_close(both[:5].norm(dim=0), torch.full((4, 4), 3**-0.5))
    assert joined({"last": maps["blocks.2"]}, COARSE) is None


def test_keys_inside_are_the_objects_and_those_outside_are_fine_near_it_and_means_of_four_far_away() -> None:
    foreground = torch.zeros(12, 12)
    foreground[0, 0] = 1
    one = vectors(1, 12)
    keys = keys_of(one, foreground)
    torch.testing.assert_close(keys.inside, one[:, 0, 0][None])
    near = [(i, j) for i in range(3) for j in range(3) if (i, j) != (0, 0)]
    far = [(i, j) for i in range(6) for j in range(6) if i > 1 or j > 1]
    assert len(keys.outside) == len(near) + len(far)
    for key, (i, j) in zip(keys.outside, near, strict=False):
        torch.testing.assert_close(key, one[:, i, j])
    for key, (i, j) in zip(keys.outside[len(near) :], far, strict=True):
        mean = one[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
        torch.testing.assert_close(key, mean / mean.norm())


@given(st.integers(0, 10_000), st.floats(-1, 0.9))
@settings(max_examples=20, deadline=None)
def test_a_margin_is_the_nearest_inside_minus_the_nearest_outside(seed: int, floor: float) -> None:
    query, support = vectors(seed), vectors(seed + 1)
    foreground = torch.rand(8, 8, generator=torch.Generator().manual_seed(seed))
    keys = keys_of(support, foreground)
    found = margin(query, keys, floor)
    for i, j in ((0, 0), (3, 5), (7, 7)):
        inside = max(cosine(query[:, i, j], key) for key in keys.inside)
        outside = max([floor, *(cosine(query[:, i, j], key) for key in keys.outside)])
        assert abs(float(found[i, j]) - (inside - outside)) < 1e-5


def test_a_faint_foreground_is_its_strongest_position() -> None:
    foreground = torch.full((8, 8), 0.1)
    foreground[4, 4] = 0.2
    assert len(keys_of(vectors(0), foreground).inside) == 1


def test_the_same_image_is_most_alike() -> None:
    foreground = torch.zeros(8, 8)
    foreground[2:5, 2:5] = 1
    keys = keys_of(vectors(3), foreground)
    own, other = likeness(vectors(3), keys), likeness(vectors(4), keys)
    assert 0.9 < own <= 1.0001
    assert other < own
    assert (margin(vectors(3), keys)[2:5, 2:5] > 0).all()


def test_without_anything_outside_the_margin_is_measured_from_the_floor() -> None:
    one = vectors(0)
    keys = Keys(one.flatten(1).T, one.flatten(1).T[:0])
    torch.testing.assert_close(margin(one, keys, 0.45), torch.full((8, 8), 0.55))


def test_keys_together_and_the_mean_of_the_surest() -> None:
    first, second = (keys_of(vectors(seed), torch.eye(8)) for seed in (0, 1))
    both = together([first, second])
    assert len(both.inside) == 16
    assert torch.equal(
        torch.maximum(
            margin(vectors(2), Keys(first.inside, both.outside)), margin(vectors(2), Keys(second.inside, both.outside))
        ),
        margin(vectors(2), both),
    )
    assert sure_mean(torch.arange(20.0).view(4, 5)) == sum(range(10, 20)) / 10
    assert sure_mean(torch.ones(1, 2)) == 1
