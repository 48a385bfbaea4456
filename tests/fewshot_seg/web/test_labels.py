"""Corrections: strokes against a slow loop over pixels, points and sliders by what they must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewshot_seg.errors import DataError
from fewshot_seg.matching.locators import Located
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.web.labels import Kept, Settings, cut, draw_strokes, renumbered, stroke_mask

COORDINATE = st.floats(-20, 60, allow_nan=False)
STROKES = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=4)


def slow_stroke(radius: float, points: list[tuple[float, float]], size: tuple[int, int]) -> NDArray[np.float64]:
    """(H,W): each pixel's distance to the nearest segment, less the radius."""
    distance = np.full(size, np.inf)
    for y in range(size[0]):
        for x in range(size[1]):
            for a, b in zip(points, points[1:] or points, strict=False):
                a_, b_, p = np.array(a), np.array(b), np.array([x, y])
                length = float(((b_ - a_) ** 2).sum())
                share = 0.0 if length == 0 else float(np.clip(((p - a_) @ (b_ - a_)) / length, 0, 1))
                distance[y, x] = min(distance[y, x], float(np.hypot(*(p - a_ - share * (b_ - a_)))))
    return distance - radius


@settings(max_examples=25, deadline=None)
@given(STROKES, st.floats(0.5, 12))
def test_a_stroke_covers_what_lies_within_its_radius(points: list[tuple[float, float]], radius: float) -> None:
    beyond = slow_stroke(radius, points, (24, 30))
    found = stroke_mask({"radius": radius, "points": points}, (24, 30))
    assert found[beyond < -1].all()
    assert not found[beyond > 1].any()


def test_brush_and_eraser_act_in_their_order_and_an_eraser_leaves_other_classes() -> None:
    labels = np.zeros((20, 20), np.int32)

    def stroke(name: str, foreground: bool, x: float) -> dict[str, Any]:
        return {"class": name, "stroke": {"foreground": foreground, "radius": 3, "points": [[x, 10]]}}

    draw_strokes(
        labels, [stroke("a", True, 5), stroke("b", True, 8), stroke("a", False, 6), stroke("c", True, 3)], "ab"
    )
    assert labels[10, 8] == 2
    assert labels[10, 7] == 2, "b took it, and an eraser of a leaves b"
    assert labels[10, 4] == 0
    assert labels[10, 2] == 1


def test_labels_keep_their_class_when_classes_come_and_go() -> None:
    labels = np.array([[0, 1, 2]], np.int32)
    assert renumbered(labels, ["cup", "dog"], ["dog", "cat"]).tolist() == [[0, 0, 1]]


@pytest.fixture(scope="module")
def cup() -> tuple[NDArray[np.uint8], Kept]:
    """A photograph of a cup, and a map that is sure of it and half sure of the spoon beside it."""
    image = skimage.data.coffee()
    rows, columns = np.mgrid[:24, :24]
    map_ = np.clip(1.3 - np.hypot(rows - 10, columns - 12) / 8, 0, 1).astype(np.float32)
    return image, Kept(("cup",), Located(map_[None], np.array([0.3], np.float32), True, meanings=(0.0,)))


def test_what_is_kept_is_read_as_it_was_written(cup: tuple[NDArray[np.uint8], Kept], tmp_path: Path) -> None:
    kept = cup[1]
    kept.save(tmp_path / "1.npz")
    again = Kept.load(tmp_path / "1.npz")
    assert again.classes == kept.classes
    assert (again.located.maps == kept.located.maps).all()
    assert (again.located.scores, again.located.probabilistic) == (kept.located.scores, True)
    (tmp_path / "1.npz").write_bytes((tmp_path / "1.npz").read_bytes()[:200])
    with pytest.raises(DataError, match="run this image again"):
        Kept.load(tmp_path / "1.npz")


def test_sliders_act_without_the_network(cup: tuple[NDArray[np.uint8], Kept]) -> None:
    image, kept = cup
    areas = {}
    for presence, threshold in ((0.4, None), (0.2, None), (0.2, 0.3), (0.2, 0.8)):
        options = Settings(threshold, presence).options(SegmenterOptions())
        areas[presence, threshold] = int((cut(image, kept, [], options) > 0).sum())
    assert areas[0.4, None] == 0, "its score is 0.3"
    assert areas[0.2, 0.3] > areas[0.2, 0.8] > 0
    assert areas[0.2, None] > 0


def test_a_click_says_that_the_thing_is_there_and_holds(cup: tuple[NDArray[np.uint8], Kept]) -> None:
    image, kept = cup
    edits = [
        {"class": "cup", "point": [300, 180], "foreground": True},
        {"class": "cup", "point": [20, 20], "foreground": False},
        {"class": "spoon", "point": [9999, 0], "foreground": True},
    ]
    labels = cut(image, kept, edits, SegmenterOptions())
    assert labels[180, 300] == 1
    assert labels[20, 20] == 0
    again = [*edits, {"class": "cup", "point": [300, 180], "foreground": False}]
    assert cut(image, kept, again, SegmenterOptions())[180, 300] == 0, "the same pixel marked again: the last counts"
    with pytest.raises(DataError, match="outside"):
        cut(image, kept, [{"class": "cup", "point": [9999, 0], "foreground": True}], SegmenterOptions())
