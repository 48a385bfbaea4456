"""Similarities to keys against loops over every position and key."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewshot_seg.errors import ShapeError
from fewshot_seg.matching.correspondence import SIMILARITIES, Keys, join, keys_of, similarities, unit


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return unit(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def keys(b: int, m: int, n: int, seed: int = 1) -> Keys:
    made = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, b, n, generator=made, dtype=torch.float64)
    return Keys(vectors(b, m, n, seed=seed), weights[0], weights[1])


def slow(x: Tensor, own: Keys, i: int, s: float) -> list[float]:
    """The four similarities of one position x (m,) of image i."""
    found = []
    both = own.foreground[i] + own.background[i]
    for weights in (own.foreground[i], own.background[i]):
        least = [1e-3 * float(both[j]) + 1e-12 for j in range(len(weights))]
        cosines = [float(x @ own.vectors[i, :, j]) for j in range(len(weights))]
        total = sum((float(weights[j]) + least[j]) * math.exp(s * cosines[j]) for j in range(len(weights)))
        mean = sum(float(weights[j]) * own.vectors[i, :, j] for j in range(len(weights)))
        assert isinstance(mean, Tensor)
        found.append((math.log(total) / s, float(x @ mean / mean.norm())))
    (near, alike), (far, unlike) = found
    return [near - far, near, alike - unlike, alike]


@settings(max_examples=20, deadline=None)
@given(b=st.integers(1, 2), m=st.integers(1, 4), n=st.integers(1, 6), s=st.sampled_from([1.0, 12.0, 40.0]))
def test_similarities_against_a_loop(b: int, m: int, n: int, s: float) -> None:
    x, own = vectors(b, m, 2, 3), keys(b, m, n)
    found = similarities(x, own, s)
    assert found.shape == (b, len(SIMILARITIES), 2, 3)
    for i in range(b):
        for row in range(2):
            for column in range(3):
                expected = torch.tensor(slow(x[i, :, row, column], own, i, s), dtype=torch.float64)
                assert torch.allclose(found[i, :, row, column], expected, atol=1e-9)


def test_order_of_keys_and_of_images_they_stand_in_changes_nothing() -> None:
    x, first, second = vectors(2, 4, 3, 3), keys(2, 4, 5), keys(2, 4, 3, seed=2)
    one, other = similarities(x, join(first, second)), similarities(x, join(second, first))
    assert torch.allclose(one, other, atol=1e-9)


def test_a_key_that_says_nothing_counts_for_nothing() -> None:
    x, own = vectors(1, 4, 3, 3), keys(1, 4, 6)
    silent = Keys(vectors(1, 4, 1, seed=9), torch.zeros(1, 1), torch.zeros(1, 1))
    assert torch.allclose(similarities(x, join(own, silent)), similarities(x, own), atol=1e-6)


def test_keys_are_means_of_four_positions_with_both_weights() -> None:
    x = vectors(1, 3, 4, 6)
    foreground, known = torch.rand(2, 1, 4, 6, dtype=torch.float64)
    own = keys_of(x, foreground, known)
    assert own.vectors.shape == (1, 3, 6)
    for n in range(6):
        rows, columns = slice(n // 3 * 2, n // 3 * 2 + 2), slice(n % 3 * 2, n % 3 * 2 + 2)
        mean = x[0, :, rows, columns].mean((1, 2))
        assert torch.allclose(own.vectors[0, :, n], mean / mean.norm())
        told = known[0, rows, columns]
        assert torch.isclose(own.foreground[0, n], (told * foreground[0, rows, columns]).mean())
        assert torch.isclose(own.background[0, n], (told * (1 - foreground[0, rows, columns])).mean())


def test_gradients_reach_vectors_weights_and_sharpness() -> None:
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 4, dtype=torch.float64, requires_grad=True)
    sharpness = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    others = vectors(1, 3, 4)

    def margin(a: Tensor, w: Tensor, s: Tensor) -> Tensor:
        return similarities(unit(a), Keys(others, w, 1 - w), s)

    assert torch.autograd.gradcheck(margin, (x, weights, sharpness))


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError, match="expected weights"):
        similarities(vectors(1, 3, 2, 2), Keys(vectors(1, 3, 4), torch.rand(1, 3), torch.rand(1, 4)))
    with pytest.raises(ShapeError, match="expected foreground of shape"):
        keys_of(vectors(1, 3, 4, 4), torch.rand(1, 3, 4))
    with pytest.raises(ShapeError, match="don't belong together"):
        similarities(vectors(1, 2, 3, 3), keys(1, 4, 5))


def test_many_positions_and_keys_are_taken_in_parts_that_change_nothing() -> None:
    x, many = vectors(2, 4, 24, 24), keys(2, 4, 1000)  # more than are compared at once, even of one image
    whole = similarities(x, many)
    for row in range(0, 24, 5):
        assert torch.allclose(similarities(x[:, :, row : row + 1], many), whole[:, :, row : row + 1], atol=1e-9)
