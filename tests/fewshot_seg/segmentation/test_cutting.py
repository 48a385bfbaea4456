"""From maps to masks: which refined masks are kept, which objects count as absent, and who gets a pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fewshot_seg.cutting.seeds import BACKGROUND
from fewshot_seg.matching.locators import Located
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.segmentation.cutter import Cutter, Target
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.results import Segmentation

SIZE = 60, 80


def image() -> NDArray[np.uint8]:
    """A red square and a blue one on noisy green."""
    random = np.random.default_rng(0)
    made = np.zeros((*SIZE, 3), np.int64)
    made[:] = (40, 160, 40)
    made[15:45, 10:35] = (200, 30, 30)
    made[15:45, 45:70] = (30, 30, 200)
    return (made + random.integers(-10, 10, made.shape)).clip(0, 255).astype(np.uint8)


def square(left: int, right: int, value: float = 0.9) -> NDArray[np.float32]:
    """A map (15,20) that is sure of a square somewhat smaller than those of the image, and half so of its edge."""
    made = np.full((15, 20), 0.02, np.float32)
    made[4:11, left - 1 : right + 1] = 0.6 * value
    made[5:10, left:right] = value
    return made


RED, BLUE = square(4, 8), square(12, 16)


def target(*maps: NDArray[np.float32], scores: tuple[float, ...] = (), probabilistic: bool = True) -> Target:
    scored = np.array(scores or (1.0,) * len(maps), np.float32)
    return Target("here", image(), Located(np.stack(maps), scored, probabilistic), (None,) * len(maps))


def cut(one: Target, **options: object) -> Segmentation:
    names = tuple("abc"[: len(one.constraints)])
    return Cutter(SegmenterOptions(**options)).cut(one, names)  # type: ignore[arg-type]


def known(**marked: tuple[slice, slice]) -> Constraints:
    parts = {name: np.zeros(SIZE, bool) for name in ("foreground", "background")}
    for name, where in marked.items():
        parts[name][where] = True
    return Constraints(**parts)


def test_a_refined_mask_that_agrees_with_the_map_is_kept() -> None:
    result = cut(target(RED))
    (found,) = result.objects
    assert found.refined
    truth = np.zeros(SIZE, bool)
    truth[15:45, 10:35] = True
    start = cut(target(RED), refine="none")
    assert not start.objects[0].refined
    assert iou(result.mask, truth) > iou(start.mask, truth)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_refined_mask_that_the_map_speaks_against_is_not_kept() -> None:
    everywhere = target(RED)._replace(image=np.random.default_rng(1).integers(0, 255, (*SIZE, 3)).astype(np.uint8))
    kept, left = cut(everywhere, keep=0.0), cut(everywhere, keep=100.0)
    assert kept.objects[0].refined
    assert not left.objects[0].refined
    assert np.array_equal(left.mask, cut(everywhere, refine="none").mask)
    assert not np.array_equal(kept.mask, left.mask)


@pytest.mark.parametrize("keep", [0.0, 0.8])
def test_what_is_probably_absent_has_no_pixel_and_its_score(keep: float) -> None:
    one = target(RED, BLUE, scores=(0.3, 0.8))
    result = cut(one, presence=0.5, keep=keep)
    red, blue = result.objects
    assert not red.mask.any()
    assert not red.refined
    assert (red.trimap == BACKGROUND).all()
    assert red.score == pytest.approx(0.3)
    assert blue.mask.any()
    for options in ({"presence": 0.5, "always": True}, {"presence": 0.3}, {"presence": 0.0}):
        assert cut(one, **options).objects[0].mask.any(), "a score that is no smaller than the threshold is enough"
    assert cut(target(RED, scores=(0.3,), probabilistic=False), presence=0.5).mask.any(), "a cosine is no probability"


def test_what_a_user_marks_is_there() -> None:
    here = (slice(20, 24), slice(50, 54))
    beside = (slice(30, 40), slice(12, 20))
    plain = target(RED, scores=(0.1,))
    marked = plain._replace(constraints=(known(foreground=here, background=beside),))
    result = cut(marked, presence=0.5)
    assert result.mask[here].all()
    assert not result.mask[beside].any()
    assert not cut(plain._replace(constraints=(known(background=beside),)), presence=0.5).mask.any()


def test_a_pixel_goes_to_the_strongest_map() -> None:
    weak, strong = square(4, 12, 0.6), square(8, 16, 0.9)
    for maps, (weaker, stronger) in (((weak, strong), (0, 1)), ((strong, weak), (1, 0))):
        result = cut(target(*maps), refine="none")
        both = [cut(target(one), refine="none").mask for one in maps]
        shared = both[0] & both[1]
        assert shared.any()
        assert result.objects[stronger].mask[shared].mean() > 0.75
        assert np.array_equal(result.mask, both[0] | both[1])
        assert not (result.objects[weaker].mask & result.objects[stronger].mask).any()


def test_permuting_classes_permutes_masks() -> None:
    maps = [RED, BLUE, square(7, 13, 0.5)]
    expected = cut(target(*maps, scores=(0.9, 0.8, 0.7)))
    order = [2, 0, 1]
    found = cut(target(*(maps[i] for i in order), scores=tuple((0.9, 0.8, 0.7)[i] for i in order)))
    for place, i in enumerate(order):
        assert np.array_equal(found.objects[place].mask, expected.objects[i].mask)
        assert replace(found.objects[place], name="x").score == pytest.approx(expected.objects[i].score)
