"""Outlines from outside: what is damaged is refused before anything is drawn, what is whole is as COCO draws it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

from fewshot_seg.errors import DataError, FewShotError
from fewshot_seg.imaging.geometry import bounding_box, check_outline, check_size, decode_rle, draw_outline, encode_rle

SIZE = (30, 33)
TRIANGLE = [2, 2, 20, 3, 9, 25]

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))
coordinates = st.integers(-33, 63) | st.floats(-33, 63)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=12).map(
    lambda p: [n for xy in p for n in xy]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner),
    max_leaves=20,
)


@given(masks)
def test_run_lengths_round_trip(mask: NDArray[np.bool_]) -> None:
    rle = encode_rle(mask)
    assert isinstance(rle["counts"], str)
    assert rle["size"] == list(mask.shape)
    np.testing.assert_array_equal(decode_rle(json.loads(json.dumps(rle))), mask)
    changes = np.flatnonzero(np.diff(np.concatenate([[False], mask.T.ravel()]).astype(int)))
    counts = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    np.testing.assert_array_equal(decode_rle({"size": [*mask.shape], "counts": counts}, mask.shape), mask)


@given(st.binary(max_size=20) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=20))
def test_any_text_is_run_lengths_or_refused(counts: bytes | str) -> None:
    try:
        mask = decode_rle({"size": [3, 2], "counts": counts})
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any of many inputs may be refused
    else:
        assert mask.shape == (3, 2)


@given(st.lists(polygons, min_size=1, max_size=3))
def test_polygons_are_drawn_as_coco_draws_them(shape: list[list[float]]) -> None:
    wanted = coco.decode(coco.merge(coco.frPyObjects(shape, *SIZE))).astype(bool)
    np.testing.assert_array_equal(draw_outline(shape, SIZE), wanted)
    x, y, w, h = bounding_box(wanted)
    outline = check_outline(shape, SIZE)
    assert outline is not None
    left, top, right, bottom = outline.box
    if wanted.any():
        assert left - 1 <= x
        assert top - 1 <= y
        assert x + w <= right + 1
        assert y + h <= bottom + 1


@given(json_values)
def test_anything_is_drawn_or_refused_in_one_line(shape: Any) -> None:
    try:
        assert draw_outline(shape, SIZE).shape == SIZE
    except FewShotError as error:
        assert "\n" not in str(error)  # noqa: PT017 - any of many inputs may be refused
        assert len(str(error)) < 200  # noqa: PT017


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300, 1e9, 10**400, -64, 67, "1", None, True])
@pytest.mark.parametrize("place", range(6))
def test_impossible_coordinates(bad: Any, place: int) -> None:
    polygon = [*TRIANGLE]
    polygon[place] = bad
    with pytest.raises(DataError, match="coordinate"):
        draw_outline([TRIANGLE, polygon], SIZE)


def test_a_point_may_lie_outside_by_the_longer_side() -> None:
    assert draw_outline([[-33, -33, 66, -33, 66, 63, -33, 63]], SIZE).all()
    for far in ([-33.5, 0, 3, 3, 0, 3], [0, 0, 66.5, 3, 0, 3], [0, 0, 3, 63.5, 0, 3]):
        with pytest.raises(DataError, match=r"in an image of 33x30 \(width x height\)"):
            draw_outline([far], SIZE)


def test_an_outline_without_end() -> None:
    with pytest.raises(DataError, match="a polygon of 2000 points is longer than 200 times"):
        draw_outline([[0, 0, 33, 30] * 1000], SIZE)
    assert not draw_outline([[0, 0, 1, 1] * 1000], SIZE).any()


@pytest.mark.parametrize("shape", [None, [], [[]], [[1, 2]], [[1, 2, 20, 20]], [[5, 5, 6], []]])
def test_nothing_to_draw(shape: Any) -> None:
    assert check_outline(shape, SIZE) is None
    assert not draw_outline(shape, SIZE).any()


def test_polygons_of_two_points_beside_whole_ones() -> None:
    np.testing.assert_array_equal(draw_outline([[1, 2, 20, 20], TRIANGLE], SIZE), draw_outline([TRIANGLE], SIZE))


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"counts": [16875, 33750], "size": [225, 300]}, "of size \\[225, 300\\], the image of \\[30, 33\\]"),
        ({"counts": [0, 989], "size": [30, 33]}, "don't add up to 30 x 33 pixels"),
        ({"counts": [0, 991], "size": [30, 33]}, "don't add up"),
        ({"counts": [1000, -10], "size": [30, 33]}, "from 0 up"),
        ({"counts": [2**63, 2**63], "size": [30, 33]}, "from 0 up"),
        ({"counts": [990.0], "size": [30, 33]}, "from 0 up"),
        ({"counts": [], "size": [30, 33]}, "don't add up"),
        ({"counts": "", "size": [30, 33]}, "no text of COCO's"),
        ({"counts": "PPPP", "size": [30, 33]}, "no text of COCO's"),
        ({"counts": "PPPPPPP0", "size": [30, 33]}, "no text of COCO's"),
        ({"counts": "01", "size": [30, 33]}, "don't add up"),
        ({"counts": "é", "size": [30, 33]}, "no text of COCO's"),
        ({"counts": [990], "size": 990}, "of size 990"),
        ({"size": [30, 33]}, "no text and no list"),
    ],
)
def test_run_lengths_that_are_none(rle: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_outline(rle, SIZE)
    with pytest.raises(DataError):
        decode_rle(rle)


def test_runs_without_a_filled_one_are_nothing() -> None:
    assert check_outline({"counts": [990], "size": [30, 33]}, SIZE) is None
    assert not decode_rle({"counts": [990], "size": [30, 33]}).any()


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((-5, 3), "height -5"),
        ((3, 2**70), r"width 1180591620717411303424"),
        ((3, 0), "width 0"),
        ((None, 3), "height None"),
        (("3", 3), "height '3'"),
        ((3, math.nan), "width nan"),
        ((2.5, 3), "height 2.5"),
        ((True, 3), "height True"),
        ((100_000, 100_000), "100 million pixels"),
    ],
)
def test_impossible_sizes(size: tuple[Any, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_size(*size)
    assert check_size(30, 33.0) == (30, 33)


@given(masks)
def test_bounding_box_is_the_smallest_around_the_mask(mask: NDArray[np.bool_]) -> None:
    assert bounding_box(mask) == [int(side) for side in coco.toBbox(encode_rle(mask))]
