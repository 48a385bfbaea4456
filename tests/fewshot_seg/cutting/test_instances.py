"""Instances: parts that don't touch, things that only touch, and crumbs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fewshot_seg.cutting.instances import instances_of
from fewshot_seg.errors import ShapeError


def discs(*circles: tuple[int, int, int], size: tuple[int, int] = (120, 200)) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.uint8)
    for x, y, radius in circles:
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask > 0


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)))
@settings(max_examples=60, deadline=None)
def test_things_lie_in_the_mask_don_t_overlap_and_come_by_size(mask: NDArray[np.bool_]) -> None:
    found = instances_of(mask)
    total = np.zeros(mask.shape, int) + sum(one.astype(int) for one in found)
    assert total.max(initial=0) <= 1
    assert not (total.astype(bool) & ~mask).any()
    areas = [int(one.sum()) for one in found]
    assert areas == sorted(areas, reverse=True)


@given(st.integers(14, 22), st.integers(14, 22), st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_discs_that_touch_are_two(one: int, other: int, overlap: int) -> None:
    mask = discs((40, 60, one), (40 + one + other - overlap, 60, other))
    found = instances_of(mask)
    assert len(found) == 2
    assert (found[0] | found[1] == mask).all()
    for thing, radius in zip(found, sorted((one, other), reverse=True), strict=True):
        assert abs(int(thing.sum()) - np.pi * radius**2) < 0.15 * np.pi * radius**2


def test_a_chain_falls_into_its_links_and_a_bar_stays_whole() -> None:
    assert len(instances_of(discs((30, 60, 20), (68, 60, 20), (106, 60, 20), (144, 60, 20)))) == 4
    bar = np.zeros((60, 200), bool)
    bar[20:40, 10:190] = True
    assert len(instances_of(bar)) == 1


def test_a_head_is_no_thing_of_its_own_and_neither_is_a_crumb() -> None:
    figure = discs((100, 80, 38), (100, 32, 11))
    assert len(instances_of(figure)) == 1
    crumb = discs((60, 60, 30), (150, 60, 4))
    (whole,) = instances_of(crumb)
    assert whole.sum() == discs((60, 60, 30)).sum()
    assert instances_of(np.zeros((5, 5), bool)) == []
    with pytest.raises(ShapeError):
        instances_of(np.zeros((2, 2, 2), bool))


def test_coins_are_counted() -> None:
    coins = cv2.morphologyEx(
        (cv2.medianBlur(skimage.data.coins(), 5) > 118).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7))
    )
    coins[:, 375:] = 0  # the brighter edge of the photograph
    assert 22 <= len(instances_of(coins > 0)) <= 25
