"""GrabCut on trimaps of every kind, and the way back to native size."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from fewshot_seg.cutting import refine, seeds
from fewshot_seg.cutting.refine import GrabCutOptions, random_walk
from fewshot_seg.cutting.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND, foreground_of
from fewshot_seg.errors import ConfigError, ShapeError

Image = NDArray[np.uint8]


def disc(size: int = 96, radius: float = 0.3) -> NDArray[np.bool_]:
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    return np.asarray(x * x + y * y < radius * radius)


def scene(mask: NDArray[np.bool_]) -> Image:
    """A reddish object on a greenish ground, both with noise."""
    rng = np.random.default_rng(0)
    colour = np.where(mask[..., None], (180, 60, 60), (60, 140, 70))
    return np.clip(colour + rng.normal(0, 12, colour.shape), 0, 255).astype(np.uint8)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def rough_seeds(size: int = 96) -> NDArray[np.uint8]:
    """Seeds that know the middle and the border, and guess too small an object between."""
    result = np.full((size, size), seeds.PROBABLE_BACKGROUND, np.uint8)
    result[~disc(size, 0.45)] = seeds.BACKGROUND
    result[disc(size, 0.2)] = seeds.PROBABLE_FOREGROUND
    result[disc(size, 0.1)] = seeds.FOREGROUND
    return result


def test_grabcut_finds_the_object_from_rough_seeds() -> None:
    truth = disc()
    found = refine.grabcut(scene(truth), rough_seeds())
    assert iou(found, truth) > 0.97
    assert iou(seeds.foreground_of(rough_seeds()), truth) < 0.6


def test_grabcut_leaves_its_arguments_alone() -> None:
    image, start = scene(disc()), rough_seeds()
    before = start.copy()
    refine.grabcut(image, start)
    assert np.array_equal(start, before)


def test_sure_seeds_are_kept() -> None:
    image = skimage.data.chelsea()[:128, :160]
    start = np.full(image.shape[:2], seeds.PROBABLE_FOREGROUND, np.uint8)
    start[:40], start[-20:] = seeds.BACKGROUND, seeds.FOREGROUND
    found = refine.grabcut(image, start)
    assert not found[:40].any()
    assert found[-20:].all()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_one_seed_one_mask_whatever_the_threads(threads: int) -> None:
    image = cv2.resize(skimage.data.chelsea(), (160, 128))
    start = np.full((128, 160), seeds.PROBABLE_BACKGROUND, np.uint8)
    start[30:100, 40:120], start[60:70, 60:90] = seeds.PROBABLE_FOREGROUND, seeds.FOREGROUND
    start[:8] = seeds.BACKGROUND
    expected = refine.grabcut(image, start, seed=3)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(threads)
        cv2.randu(np.zeros(100, np.uint8), 0, 255)  # what was drawn before doesn't matter
        results: list[NDArray[np.bool_]] = []
        workers = [
            threading.Thread(target=lambda: results.append(refine.grabcut(image, start, seed=3)))
            for _ in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        cv2.setNumThreads(before)
    assert len(results) == threads
    assert all(np.array_equal(result, expected) for result in results)


@settings(max_examples=40, deadline=None)
@given(
    start=npst.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 3)),
    flat=st.booleans(),
)
def test_any_trimap_gives_a_mask(start: NDArray[np.uint8], flat: bool) -> None:
    image = np.zeros((*start.shape, 3), np.uint8)
    if not flat:
        image[:] = np.random.default_rng(0).integers(0, 256, image.shape)
    found = refine.grabcut(image, start)
    assert found.shape == start.shape
    assert found.dtype == bool
    assert not found[start == seeds.BACKGROUND].any()
    assert found[start == seeds.FOREGROUND].all()


@pytest.mark.parametrize("value", range(4))
def test_a_trimap_of_one_value_is_its_own_result(value: int) -> None:
    start = np.full((64, 64), value, np.uint8)
    found = refine.grabcut(scene(disc(64)), start)
    assert found.all() == (value in (seeds.FOREGROUND, seeds.PROBABLE_FOREGROUND))
    assert found.any() == found.all()


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), longest=st.integers(16, 512))
def test_working_size_keeps_the_shape_and_never_enlarges(height: int, width: int, longest: int) -> None:
    h, w = refine.working_size((height, width), longest)
    assert 1 <= h <= height
    assert 1 <= w <= width
    assert max(h, w) == min(longest, max(height, width))
    if min(h, w) > 8:
        assert h / w == pytest.approx(height / width, rel=0.1)


def test_shapes_and_options_are_checked() -> None:
    with pytest.raises(ShapeError):
        refine.grabcut(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))
    with pytest.raises(ConfigError, match="iterations"):
        GrabCutOptions(iterations=0)
    with pytest.raises(ConfigError, match="working_size"):
        GrabCutOptions(working_size=2.5)  # type: ignore[arg-type]


# The random walker


def two_colours(size: tuple[int, int] = (40, 60)) -> tuple[Image, Image]:
    """An image of two halves, and a trimap that is sure of a spot in each."""
    image = np.zeros((*size, 3), np.uint8)
    image[:, size[1] // 2 :] = 200
    seeds = np.full(size, PROBABLE_BACKGROUND, np.uint8)
    seeds[15:25, 45:50] = FOREGROUND
    seeds[15:25, 5:10] = BACKGROUND
    return image, seeds


def test_the_random_walker_stops_at_edges() -> None:
    image, seeds = two_colours()
    expected = np.zeros(seeds.shape, bool)
    expected[:, 30:] = True
    assert np.array_equal(random_walk(image, seeds), expected)


@pytest.mark.parametrize("value", [BACKGROUND, PROBABLE_FOREGROUND, FOREGROUND])
def test_the_random_walker_needs_both_sides(value: int) -> None:
    image, _ = two_colours()
    seeds = np.full(image.shape[:2], value, np.uint8)
    assert np.array_equal(random_walk(image, seeds), foreground_of(seeds))
    seeds[0, 0] = PROBABLE_BACKGROUND
    assert np.array_equal(random_walk(image, seeds), foreground_of(seeds))


def test_the_random_walker_refuses_what_does_not_fit() -> None:
    image, seeds = two_colours()
    with pytest.raises(ShapeError, match="don't belong together"):
        random_walk(image[1:], seeds)
