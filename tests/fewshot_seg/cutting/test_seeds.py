"""Attention to trimap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from fewshot_seg.cutting import seeds
from fewshot_seg.cutting.seeds import SeedOptions
from fewshot_seg.errors import ConfigError, ShapeError

MAPS = npst.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.floats(0, 1, width=32))


def slow_otsu(values: NDArray[np.float32]) -> float:
    """The threshold that parts the values (in 1/255) with the largest variance between the parts."""
    levels = (values * 255).astype(np.uint8).ravel().astype(float)
    best, result = -1.0, 0
    for level in range(1, 256):
        low, high = levels[levels < level], levels[levels >= level]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            if between > best * (1 + 1e-9):
                best, result = between, level
    return result / 255


@pytest.mark.parametrize("seed", range(5))
def test_otsu_parts_as_the_slow_one(seed: int) -> None:
    attention = (np.random.default_rng(seed).random((6, 9)) ** 3).astype(np.float32)
    attention /= attention.max()
    level = seeds.threshold_of(attention, SeedOptions())
    inside = (attention * 255).astype(np.uint8) >= round(level * 255)
    expected = (attention * 255).astype(np.uint8) >= round(slow_otsu(attention) * 255)
    assert np.array_equal(inside, expected)


@given(attention=MAPS, background=st.floats(0, 1), foreground=st.floats(0, 1))
def test_more_attention_is_never_less_foreground(
    attention: NDArray[np.float32], background: float, foreground: float
) -> None:
    options = SeedOptions(background=background, foreground=foreground)
    result = seeds.trimap(attention, attention.shape, options)
    assert result.dtype == np.uint8
    assert result.shape == attention.shape
    order = np.array([0, 3, 1, 2])  # background, foreground, probable background, probable foreground
    ranks = order[result].ravel()[np.argsort(attention, axis=None, kind="stable")]
    assert (np.diff(ranks) >= 0).all()


def test_levels_are_where_the_options_say() -> None:
    attention = np.array([[0.1, 0.3, 0.5, 0.7, 0.9, 1.0]], np.float32)
    options = SeedOptions(threshold=0.5, background=0.4, foreground=0.5)
    result = seeds.trimap(attention, (1, 6), options)
    assert result.tolist() == [
        [
            seeds.BACKGROUND,
            seeds.PROBABLE_BACKGROUND,
            seeds.PROBABLE_FOREGROUND,
            seeds.PROBABLE_FOREGROUND,
            seeds.FOREGROUND,
            seeds.FOREGROUND,
        ]
    ]
    assert seeds.foreground_of(result).tolist() == [[False, False, True, True, True, True]]


def test_no_unknown_band_where_the_options_leave_none() -> None:
    attention = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    result = seeds.trimap(attention, (60, 80), SeedOptions(background=1, foreground=0))
    assert set(np.unique(result)) == {seeds.BACKGROUND, seeds.FOREGROUND}


@pytest.mark.parametrize("value", [0.2, 1.0])
def test_a_flat_map_is_probable_foreground(value: float) -> None:
    result = seeds.trimap(np.full((3, 4), value, np.float32), (30, 40))
    assert (result == seeds.PROBABLE_FOREGROUND).all()


@pytest.mark.parametrize("threshold", ["otsu", 0.3])
def test_a_map_of_zeros_is_background(threshold: float) -> None:
    result = seeds.trimap(np.zeros((3, 4), np.float32), (30, 40), SeedOptions(threshold=threshold))
    assert (result == seeds.BACKGROUND).all()


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"threshold": "mean"},
        {"background": 1.1},
        {"foreground": -0.1},
    ],
)
def test_options_are_checked(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="seed"):
        SeedOptions(**values)  # type: ignore[arg-type]


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError):
        seeds.trimap(np.zeros((2, 3, 4), np.float32), (3, 4))
