"""Boundary F against DAVIS's steps, and a slow loop over pairs of pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from eval.measures.boundary import boundary_counts, boundary_f, outline

Mask = NDArray[np.bool_]

masks = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)


def davis_outline(mask: Mask) -> Mask:
    """Three shifted copies, compared; the last row and column looked at again, the corner left out."""
    east, south, both = (np.zeros_like(mask) for _ in range(3))
    east[:, :-1], south[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = mask ^ east | mask ^ south | mask ^ both
    edge[-1] = mask[-1] ^ east[-1]
    edge[:, -1] = mask[:, -1] ^ south[:, -1]
    edge[-1, -1] = False
    return np.asarray(edge)


def slow_f(ours: Mask, theirs: Mask, tolerance: float) -> float:
    """Every pair of outline pixels; NaN where there is none at all."""
    radius = math.ceil(tolerance * math.hypot(*ours.shape))
    one, other = (np.argwhere(davis_outline(mask)).tolist() for mask in (ours, theirs))
    if not one and not other:
        return math.nan
    if not one or not other:
        return 0.0
    shares = [
        sum(any((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 <= radius**2 for b in far) for a in near) / len(near)
        for near, far in ((one, other), (other, one))
    ]
    return 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0


@settings(max_examples=150, deadline=None)
@given(masks)
def test_the_outline_is_davis_s(pair: tuple[Mask, Mask]) -> None:
    assert np.array_equal(outline(pair[0]), davis_outline(pair[0]))


@settings(max_examples=150, deadline=None)
@given(masks, st.sampled_from([0.0075, 0.1, 0.2]))
def test_against_the_slow_loop(pair: tuple[Mask, Mask], tolerance: float) -> None:
    prediction, truth = (mask.astype(int) for mask in pair)
    score = boundary_f(boundary_counts(prediction, truth, 1, tolerance))
    assert score.shape == (1,)
    assert score[0] == pytest.approx(slow_f(*pair, tolerance), nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(masks)
def test_a_mask_fits_itself_and_both_ways_are_alike(pair: tuple[Mask, Mask]) -> None:
    one, other = (mask.astype(int) for mask in pair)
    assert boundary_f(boundary_counts(one, one, 1))[0] == pytest.approx(
        1 if outline(pair[0]).any() else math.nan, nan_ok=True
    )
    there, back = (boundary_f(boundary_counts(*two, 1, 0.1))[0] for two in ((one, other), (other, one)))
    assert there == pytest.approx(back, nan_ok=True)


def test_each_class_has_its_own_outline() -> None:
    truth = np.zeros((40, 40), int)
    truth[5:15, 5:15], truth[25:35, 25:35] = 1, 2
    prediction = np.where(truth == 1, 1, 0)
    assert boundary_f(boundary_counts(prediction, truth, 2)).tolist() == [1, 0]


def test_void_is_right_but_covering_everything_is_not() -> None:
    """An object with a void border, as VOC has it: an edge within the border is right, no edge at all is not."""
    truth = np.zeros((60, 60), int)
    truth[18:42, 18:42] = -1
    truth[20:40, 20:40] = 1
    within, everything = np.zeros((60, 60), int), np.ones((60, 60), int)
    within[19:41, 19:41] = 1
    assert boundary_f(boundary_counts(within, truth, 1))[0] == pytest.approx(1)
    assert boundary_f(boundary_counts(everything, truth, 1))[0] == 0
