"""The guided filter and the histograms of colours against slow loops, and what comes of both."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from fewshot_seg.cutting.guided import colour_ratio, guided_filter, join
from fewshot_seg.cutting.refiners import RefinerSetting, Scene, build_refiner
from tests.fewshot_seg.cutting.test_refine import disc, iou, scene

RADIUS, SMOOTH = 2, 1e-4


def slow_filter(image: NDArray[np.uint8], values: NDArray[np.float32], y: int, x: int) -> float:
    """The mean of what the fits of all windows that hold a pixel say of it."""
    colours = image.astype(np.float64) / 255

    def fit(row: int, column: int) -> float:
        window = np.s_[row - RADIUS : row + RADIUS + 1, column - RADIUS : column + RADIUS + 1]
        seen, wanted = colours[window].reshape(-1, 3), values[window].ravel().astype(np.float64)
        spread = np.cov(seen.T, bias=True) + SMOOTH * np.eye(3)
        slope = np.linalg.solve(spread, ((seen - seen.mean(0)) * (wanted - wanted.mean())[:, None]).mean(0))
        return float(wanted.mean() + slope @ (colours[y, x] - seen.mean(0)))

    span = range(-RADIUS, RADIUS + 1)
    return float(np.mean([fit(y + down, x + right) for down in span for right in span]))


@pytest.mark.parametrize("kind", ["colour", "grey", "one colour"])
def test_the_filter_is_the_mean_of_local_fits(kind: str) -> None:
    cat = skimage.data.chelsea()[100:130, 100:140]
    image = {"colour": cat, "grey": np.repeat(cat[..., :1], 3, 2), "one colour": np.full_like(cat, 7)}[kind]
    values = np.random.default_rng(0).random(image.shape[:2]).astype(np.float32)
    found = guided_filter(image, values, RADIUS, SMOOTH)
    for y, x in [(6, 6), (14, 30), (22, 9)]:
        assert found[y, x] == pytest.approx(slow_filter(image, values, y, x), abs=1e-4)


def test_colours_speak_for_the_side_on_which_they_are_oftener() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:] = (250, 10, 10)
    ratio = colour_ratio(image, np.tile(np.linspace(0, 1, 20, dtype=np.float32), (20, 1)))
    assert (ratio[:, :10] < -1).all()
    assert (ratio[:, 10:] > 1).all()
    assert np.allclose(colour_ratio(image, np.full((20, 20), 0.5, np.float32)), 0, atol=1e-4)


def test_a_leak_that_the_map_denies_is_closed_and_the_edge_is_the_image_s() -> None:
    truth = disc(120)
    image = scene(truth)
    vague = np.where(disc(120), 0.7, 0.3).astype(np.float32)
    vague[:, 70:] = np.maximum(vague[:, 70:] - 0.1, 0.1)
    leaking = truth.copy()
    leaking[:12] = True
    vague[:12] = 0.01
    assert iou(join(image, vague, leaking), truth) > max(0.95, iou(leaking, truth) + 0.05)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 2), (3, 3)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_slivers_and_flat_maps(size: tuple[int, int], value: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = join(image, np.full(size, value, np.float32), np.full(size, value > 0.5))
    assert found.shape == size
    assert (found == (value > 0.5)).all()


def test_of_attention_it_is_grabcut_alone() -> None:
    truth = disc(60)
    image = scene(truth)
    seeds = np.where(truth, 3, 2).astype(np.uint8)
    seeds[0], seeds[30, 30] = 0, 1
    guided, plain = (build_refiner(name, RefinerSetting()) for name in ("guided", "grabcut"))
    assert guided is not None
    assert plain is not None
    given = image, image, seeds, np.where(np.arange(60) < 30, 0.9, 0.01).astype(np.float32)[None].repeat(60, 0)
    assert np.array_equal(guided(Scene(*given, probabilistic=False)), plain(Scene(*given)))
    assert not np.array_equal(guided(Scene(*given)), plain(Scene(*given)))
