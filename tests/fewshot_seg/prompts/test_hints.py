"""Hints: what users know of an image, as given, as marks, on the grid, in the trimap and in the mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewshot_seg.cutting.seeds import BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND
from fewshot_seg.errors import ConfigError, DataError, ShapeError
from fewshot_seg.prompts.constraints import Constraints, apply_to_map, apply_to_mask, apply_to_trimap, prior_on_grid
from fewshot_seg.prompts.hints import Hint, Query, query_constraints, read_constraints
from fewshot_seg.prompts.supports import Support, group_supports, support_constraints, support_mask

SIZE = (40, 60)
PICTURE = np.zeros((*SIZE, 3), np.uint8)


def marks_of(**given: Any) -> Constraints:
    constraints = read_constraints(Hint(**given), SIZE, "photo.jpg")
    assert constraints is not None
    return constraints


def square(top: int, left: int, side: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "empty hint"),
        ({"mask": PICTURE, "box": (0, 0, 1, 1)}, "mask or a box"),
        ({"mask": PICTURE, "points": [(0, 0)]}, "mask or a point"),
        ({"mask": PICTURE, "scribble": PICTURE}, "mask or a scribble"),
        ({"box": (1, 2, 3)}, "a box is"),
        ({"points": []}, "got none"),
        ({"points": (3, 4)}, r"points are .*got \(3, 4\)"),
        ({"points": [(3,)]}, "points are"),
        ({"points": [(3, 4, 5)]}, "points are"),
        ({"points": [(3, float("inf"))]}, "points are"),
        ({"points": ["ab"]}, "points are"),
        ({"points": 7}, "points are"),
    ],
)
def test_what_is_no_hint(given: dict[str, Any], message: str) -> None:
    for make in (Hint, lambda **given: Support("a.jpg", **given), lambda **given: Query("a.jpg", **given)):
        if not given and make is not Hint:
            continue
        with pytest.raises(ConfigError, match=message) as error:
            make(**given)
        assert "\n" not in str(error.value)


def test_no_hint_says_nothing() -> None:
    assert read_constraints(None, SIZE) is None
    assert support_constraints(Support(PICTURE), SIZE) is None
    assert Query(PICTURE).hint is None


def test_a_mask_says_everything() -> None:
    mask = square(10, 10, 8)
    constraints = marks_of(mask=mask)
    np.testing.assert_array_equal(constraints.foreground, mask)
    np.testing.assert_array_equal(constraints.background, ~mask)
    foreground, where = prior_on_grid(constraints, (10, 15))
    assert (where == 1).all()
    np.testing.assert_allclose(foreground, mask.reshape(10, 4, 15, 4).mean((1, 3)), atol=1e-6)


def test_nothing_is_outside_a_box_and_something_within() -> None:
    constraints = marks_of(box=(20, 8, 24, 16))
    assert not constraints.foreground.any()
    assert constraints.inside is not None
    np.testing.assert_array_equal(constraints.background, ~constraints.inside)
    assert constraints.inside.sum() == 24 * 16
    foreground, where = prior_on_grid(constraints, (10, 15))
    inside = constraints.inside.reshape(10, 4, 15, 4).mean((1, 3)) > 0
    assert (where[~inside] == 1).all()
    assert (foreground[~inside] == 0).all()
    assert (foreground[inside] > 0).all()
    assert (where[inside] < 1).all(), "what exactly within the box is the object stays open"


def test_a_point_marks_its_own_pixel_and_those_around_it_in_a_large_image() -> None:
    constraints = marks_of(points=[(59, 0), (3.7, 20.2, False)])
    assert list(zip(*np.nonzero(constraints.foreground), strict=True)) == [(0, 59)]
    assert list(zip(*np.nonzero(constraints.background), strict=True)) == [(20, 3)]
    large = read_constraints(Hint(points=[(500, 300)]), (600, 1000))
    assert large is not None
    assert large.foreground.sum() == pytest.approx(np.pi * 10**2, rel=0.05)


def test_points_of_both_kinds_share_the_pixels_between_them() -> None:
    constraints = read_constraints(Hint(points=[(300, 300), (310, 300, False)]), (600, 1000))
    assert constraints is not None
    assert constraints.foreground[300, 304]
    assert constraints.background[300, 306]
    assert not (constraints.foreground & constraints.background).any()


@pytest.mark.parametrize("point", [(60, 0), (0, 40), (-1, 0), (0, -0.5)])
def test_a_point_outside(point: tuple[float, float]) -> None:
    with pytest.raises(DataError, match=r"photo\.jpg: the point .* outside the image, 60x40"):
        marks_of(points=[point])


def test_a_point_of_both_kinds() -> None:
    with pytest.raises(DataError, match="as object and as background"):
        marks_of(points=[(3, 3), (3, 3, False)])
    marks_of(points=[(3, 3), (3, 3)])


def test_a_scribble_is_read_at_its_images_size() -> None:
    strokes = np.zeros(SIZE, np.uint8)
    strokes[5], strokes[30] = 1, 2
    constraints = marks_of(scribble=strokes)
    np.testing.assert_array_equal(constraints.foreground, strokes == 1)
    np.testing.assert_array_equal(constraints.background, strokes == 2)
    with pytest.raises(ShapeError, match=r"scribble is 9x9 .*photo\.jpg is 60x40"):
        marks_of(scribble=strokes[:9, :9])


def test_box_points_and_scribble_together() -> None:
    strokes = np.zeros(SIZE, np.uint8)
    strokes[10:12, :] = 1
    constraints = marks_of(box=(10, 5, 20, 20), points=[(25, 20), (12, 7, False)], scribble=strokes)
    assert constraints.foreground[10, 15]
    assert constraints.foreground[20, 25]
    assert constraints.background[7, 12]
    assert not constraints.foreground[10, 40], "the box is the last word"
    assert constraints.background[10, 40]


def test_an_object_outside_its_box() -> None:
    with pytest.raises(DataError, match="outside of its box"):
        marks_of(box=(10, 5, 20, 20), points=[(50, 35)])


def test_a_class_is_background_to_the_others() -> None:
    query = Query(PICTURE, hints={"cat": Hint(mask=square(0, 0, 10)), "dog": Hint(points=[(40, 30)])})
    cat, dog, bird = query_constraints(query, ("cat", "dog", "bird"), SIZE)
    assert cat is not None
    assert dog is not None
    assert bird is not None
    assert cat.background[30, 40]
    assert dog.background[5, 5]
    assert not dog.background[35, 5]
    assert not bird.foreground.any()
    np.testing.assert_array_equal(bird.background, cat.foreground | dog.foreground)


def test_where_two_classes_claim_a_pixel_neither_has_it() -> None:
    query = Query(PICTURE, hints={"cat": Hint(mask=square(0, 0, 10)), "dog": Hint(mask=square(5, 5, 10))})
    cat, dog = query_constraints(query, ("cat", "dog"), SIZE)
    assert cat is not None
    assert dog is not None
    assert not cat.foreground[7, 7]
    assert not dog.foreground[7, 7]
    assert cat.foreground[2, 2]
    assert dog.background[2, 2]


def test_hints_of_queries_need_a_class_where_there_are_several() -> None:
    assert query_constraints(PICTURE, ("cat", "dog"), SIZE) == (None, None)
    (constraints,) = query_constraints(Query(PICTURE, box=(0, 0, 9, 9)), ("cat",), SIZE)
    assert constraints is not None
    with pytest.raises(ConfigError, match="2 classes"):
        query_constraints(Query(PICTURE, box=(0, 0, 9, 9)), ("cat", "dog"), SIZE)
    with pytest.raises(ConfigError, match="'kat', which is no class"):
        query_constraints(Query(PICTURE, hints={"kat": Hint(box=(0, 0, 9, 9))}), ("cat", "dog"), SIZE)
    with pytest.raises(ConfigError, match="not both"):
        Query(PICTURE, box=(0, 0, 9, 9), hints={"cat": Hint(box=(0, 0, 9, 9))})


def test_what_is_marked_is_sure_in_the_trimap_and_holds_in_the_mask() -> None:
    constraints = marks_of(points=[(30, 20), (3, 20, False)])
    for value in (BACKGROUND, FOREGROUND, PROBABLE_BACKGROUND, PROBABLE_FOREGROUND):
        seeds = np.full(SIZE, value, np.uint8)
        told = apply_to_trimap(seeds, constraints)
        assert (told[20, 30], told[20, 3]) == (FOREGROUND, BACKGROUND)
        assert (told[~(constraints.foreground | constraints.background)] == value).all()
        assert (seeds == value).all(), "the caller's array stays as it is"
    for filled in (True, False):
        mask = apply_to_mask(np.full(SIZE, filled), constraints)
        assert mask[20, 30]
        assert not mask[20, 3]
        assert mask[0, 0] == filled


def test_a_single_pixel_is_not_lost_in_a_small_trimap() -> None:
    constraints = marks_of(points=[(30, 20), (3, 20, False)])
    told = apply_to_trimap(np.full((8, 12), PROBABLE_BACKGROUND, np.uint8), constraints)
    assert (told[4, 6], told[4, 0]) == (FOREGROUND, BACKGROUND)


places = st.tuples(st.integers(0, SIZE[1] - 1), st.integers(0, SIZE[0] - 1))


@given(
    points=st.dictionaries(places, st.booleans(), min_size=1, max_size=6),
    grid=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_points_on_any_grid(points: dict[tuple[int, int], bool], grid: tuple[int, int]) -> None:
    given = [(*place, kind) for place, kind in points.items()]
    constraints = marks_of(points=given)
    assert not (constraints.foreground & constraints.background).any()
    foreground, where = prior_on_grid(constraints, grid)
    assert foreground.dtype == where.dtype == np.float32
    assert foreground.shape == where.shape == grid
    assert foreground.min() >= 0
    assert where.min() >= 0
    assert foreground.max() <= 1
    assert where.max() <= 1
    for x, y, kind in given:
        cell = y * grid[0] // SIZE[0], x * grid[1] // SIZE[1]
        assert where[cell] > 0
        if len(set(points.values())) == 1:
            assert foreground[cell] == pytest.approx(float(kind))


def test_what_a_support_shows_as_far_as_it_is_known() -> None:
    boxed = support_mask(Support(PICTURE, box=(10, 10, 20, 20), points=[(12, 12, False)]), SIZE)
    assert boxed is not None
    assert boxed.sum() == 20 * 20 - 1
    pointed = support_mask(Support(PICTURE, points=[(12, 12)]), SIZE)
    assert pointed is not None
    assert pointed.sum() == 1
    assert support_mask(Support(PICTURE, points=[(12, 12, False)]), SIZE) is None


def test_one_image_may_show_two_classes_where_points_tell_them_apart() -> None:
    shots = {"cat": Support("a.jpg", points=[(1, 1)]), "dog": Support("a.jpg", scribble="b.png")}
    assert len(group_supports(shots)) == 2


def test_a_map_is_brought_towards_what_is_known() -> None:
    constraints = marks_of(points=[(58, 2), (2, 38, False)])
    told = apply_to_map(np.full((20, 30), 0.5, np.float32), constraints)
    assert told.dtype == np.float32
    assert (told[1, 29], told[19, 1]) == (1, 0)
    assert told[2, 27] > 0.6, "beside the point, too"
    assert told[18, 3] < 0.4
    assert told[10, 15] == pytest.approx(0.5, abs=0.05), "but not far from it"
    mask = square(8, 8, 16)
    np.testing.assert_array_equal(apply_to_map(np.zeros((10, 15), np.float32), marks_of(mask=mask))[2:6, 2:6], 1)


def test_what_is_marked_or_boxed_is_there() -> None:
    assert marks_of(points=[(3, 3)]).says_present
    assert marks_of(box=(0, 0, 9, 9)).says_present
    assert not marks_of(points=[(3, 3, False)]).says_present
