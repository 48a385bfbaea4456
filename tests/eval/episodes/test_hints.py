"""Hints made from true masks: what a careful user would give, and nothing that the mask doesn't say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.episodes.hints import HINTS, make_hint
from fewshot_seg.prompts.hints import read_constraints

SIZE = (90, 120)


def two_parts() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """A large and a small disc, each with a void border."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    discs = ((40, 40, 25), (70, 100, 9))
    mask = np.logical_or.reduce([np.hypot(rows - y, columns - x) < r for y, x, r in discs])
    near = np.logical_or.reduce([np.hypot(rows - y, columns - x) < r + 3 for y, x, r in discs])
    return mask, near & ~mask


@pytest.mark.parametrize("kind", HINTS)
def test_a_hint_says_nothing_false_and_is_the_same_each_time(kind: str) -> None:
    mask, void = two_parts()
    constraints, again = (read_constraints(make_hint(kind, mask, void), SIZE) for _ in range(2))
    assert constraints is not None
    assert again is not None
    assert not (constraints.foreground & ~mask).any()
    assert not (constraints.background & mask).any()
    assert constraints.inside is None or constraints.inside[mask].all()
    np.testing.assert_array_equal(constraints.foreground, again.foreground)
    np.testing.assert_array_equal(constraints.background, again.background)


def test_one_click_is_where_the_object_is_widest() -> None:
    mask, void = two_parts()
    points = make_hint("point", mask, void).points
    assert points is not None
    assert points[0] == pytest.approx((40, 40, True), abs=1)
    points = make_hint("points", mask, void).points
    assert points is not None
    assert [point[-1] for point in points] == [True, True, False, False]
    places = np.array([point[:2] for point in points])
    distances = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert distances[~np.eye(4, dtype=bool)].min() >= 0.15 * SIZE[1]


def test_every_part_gets_a_stroke() -> None:
    mask, void = two_parts()
    strokes = make_hint("scribble", mask, void).scribble
    assert isinstance(strokes, np.ndarray)
    assert (strokes[:, :80] == 1).any()
    assert (strokes[:, 80:] == 1).any()
    assert (strokes == 2).any()


masks = st.lists(st.tuples(*(st.integers(0, 15) for _ in range(4))), min_size=1, max_size=4)


@given(masks)
def test_any_mask_has_hints_of_every_kind(boxes: list[tuple[int, int, int, int]]) -> None:
    mask = np.zeros((16, 16), bool)
    for x, y, right, bottom in boxes:
        mask[min(y, bottom) : max(y, bottom) + 1, min(x, right) : max(x, right) + 1] = True
    for kind in HINTS:
        constraints = read_constraints(make_hint(kind, mask, np.zeros_like(mask)), (16, 16))
        assert constraints is not None
        assert not (constraints.foreground & ~mask).any()
        assert not (constraints.background & mask).any()
