from __future__ import annotations

import numpy as np
import pytest

from fewshot_seg.errors import ShapeError
from fewshot_seg.imaging.render import PALETTE, Tile, above, class_colour, heat_map, overlay, seed_map, sheet

SIZES = [(1, 1), (1, 4000), (3, 2), (60, 80)]


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_palette_is_vocs():
    assert PALETTE.shape == (256, 3)
    assert PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert len(np.unique(PALETTE, axis=0)) == 256
    assert not PALETTE.flags.writeable


def test_neighbouring_classes_have_colours_that_differ():
    colours = np.array([class_colour(label) for label in range(1, 22)], dtype=int)
    distance = np.abs(colours[:, None] - colours[None]).sum(2) + 1000 * np.eye(21, dtype=int)
    assert distance.min() > 30


def test_overlay_without_a_class_is_the_image(image):
    result = overlay(image, np.zeros((60, 80), int))
    np.testing.assert_array_equal(result, image)
    assert result is not image


def test_overlay_colours_the_inside_and_only_pales_the_rest():
    image = np.full((60, 80, 3), 100, np.uint8)
    labels = np.zeros((60, 80), np.int32)
    labels[20:40, 20:40] = 2
    result = overlay(image, labels)
    assert result[30, 30, 1] > result[30, 30, 0] + 50
    assert np.ptp(result[5, 5].astype(int)) == 0
    assert image.min() == image.max() == 100, "the input is left alone"


@pytest.mark.parametrize("size", SIZES)
def test_every_size_can_be_drawn(size):
    image = np.full((*size, 3), 90, np.uint8)
    ones = np.ones(size, np.int32)
    for result in (overlay(image, ones), overlay(image, ones > 0), heat_map(image, ones.astype(np.float32))):
        assert result.shape == image.shape
        assert result.dtype == np.uint8
    assert seed_map(image, np.ones((3, 4), np.uint8)).shape == image.shape
    assert sheet([[Tile(image, "x")]]).ndim == 3


def test_heat_map_is_hotter_where_attention_is(image):
    attention = np.zeros((60, 80), np.float32)
    attention[:, 40:] = 1
    result = heat_map(image, attention).astype(int)
    warmth = result[..., 0] - result[..., 2]
    assert warmth[:, 41:].mean() > warmth[:, :39].mean() + 30


def test_a_small_map_is_brought_to_the_image_without_a_grid(image):
    small = np.zeros((4, 4), np.float32)
    small[1, 2] = 1
    red = heat_map(np.zeros_like(image), small)[..., 0].astype(int)
    bends = np.abs(np.diff(red[image.shape[0] * 3 // 8], 2))
    assert red[:, image.shape[1] // 2 :].max() > 200
    assert red[:, : image.shape[1] // 4].max() < 30
    assert bends.max() < 30


def test_heat_map_survives_nan_and_values_outside(image):
    attention = np.full((60, 80), np.nan, np.float32)
    np.testing.assert_array_equal(heat_map(image, attention), heat_map(image, np.zeros((60, 80))))
    np.testing.assert_array_equal(heat_map(image, attention * 0 + 7), heat_map(image, attention * 0 + 9))


def test_seed_map_tells_the_four_codes_apart():
    image = np.full((2, 8, 3), 128, np.uint8)
    result = seed_map(image, np.array([[0, 1, 2, 3]], np.uint8))
    assert len(np.unique(result.reshape(-1, 3), axis=0)) == 4


def test_other_shapes_are_refused(image):
    with pytest.raises(ShapeError, match="80"):
        overlay(image, np.zeros((80, 60), int))
    with pytest.raises(ShapeError, match=r"\(h, w\)"):
        heat_map(image, np.zeros((3, 3, 1)))
    with pytest.raises(ShapeError):
        heat_map(image[..., 0], np.zeros((60, 80)))
    with pytest.raises(ShapeError):
        seed_map(image, np.zeros((0, 3), np.uint8))


def test_above_keeps_the_width(image):
    assert above(image, image[:, :40]).shape == (60 + 120, 80, 3)


def test_sheet_has_a_column_for_every_tile_and_room_for_captions(image):
    one = sheet([[Tile(image)]], tile=100)
    three = sheet([[Tile(image), Tile(image)], [None, Tile(image), Tile(image, "last")]], tile=100)
    assert three.shape[1] == one.shape[1] + 2 * 116
    titled = sheet([[Tile(image, "first\n" + "second " * 40)]], "a title", tile=100)
    assert titled.shape[0] > one.shape[0] + 100
    assert (one[0] == 255).all(), "white margin"


@pytest.mark.parametrize("caption", ["", "\n", "x" * 500, "猫 Übung \udce9", "a " * 300])
def test_any_caption_can_be_printed(image, caption):
    assert sheet([[Tile(image, caption)]], caption, tile=60).shape[1] == 60 + 2 * 28


@pytest.mark.parametrize("rows", [[], [[]], [[None]]])
def test_a_sheet_without_tiles_is_refused(rows):
    with pytest.raises(ShapeError, match="at least one"):
        sheet(rows)


# The legend


@pytest.fixture
def two_classes():
    """White, 240 x 320; class 1 fills the left half, class 2 the upper right quarter."""
    labels = np.zeros((240, 320), np.int32)
    labels[:, :160] = 1
    labels[:120, 160:] = 2
    return np.full((240, 320, 3), 255, np.uint8), labels


def changed(image, labels, names):
    """(H, W) bool: what the legend covers, and the picture with it."""
    with_legend = overlay(image, labels, names)
    return (with_legend != overlay(image, labels)).any(2), with_legend


def test_two_classes_get_a_legend_in_the_corner_that_hides_least(two_classes):
    covered, picture = changed(*two_classes, ["cat", "dog"])
    rows, columns = np.nonzero(covered)
    assert rows.min() > 120
    assert columns.min() > 160
    inside = picture[covered].reshape(-1, 3).astype(int)
    for label in (1, 2):
        near = np.abs(inside - class_colour(label)).max(1) < 60
        assert near.sum() > 40, "a square in the class's colour"


def test_a_longer_name_needs_a_wider_legend_and_ends_within_the_picture(two_classes):
    widths = [changed(*two_classes, ["a", name])[0].any(0).sum() for name in ("b", "a sofa", "x" * 300)]
    assert widths[0] < widths[1] < widths[2] <= 0.6 * 320 + 12


@pytest.mark.parametrize("names", [(), ("cat",)])
def test_one_class_needs_no_legend(two_classes, names):
    assert not changed(*two_classes, names)[0].any()


def test_a_class_looked_for_and_not_found_is_not_in_the_legend(two_classes):
    image, labels = two_classes
    two = changed(image, labels, ["a", "b"])[0]
    three = changed(image, labels, ["a", "b", "c"])[0]
    np.testing.assert_array_equal(two, three)
    one = changed(image, np.where(labels == 2, 0, labels), ["a", "b"])[0]
    assert 0 < one.any(1).sum() < two.any(1).sum()
    assert not changed(image, np.zeros_like(labels), ["a", "b"])[0].any()


def test_more_classes_than_fit_are_counted_in_the_last_line():
    labels = np.arange(120 * 200, dtype=np.int32).reshape(120, 200) % 200
    covered, _ = changed(np.full((120, 200, 3), 90, np.uint8), labels, [f"class {n}" for n in range(200)])
    assert 20 < covered.any(1).sum() <= 0.6 * 120 + 12


@pytest.mark.parametrize("size", [*SIZES, (30, 30), (4000, 1), (25, 600), (600, 25)])
@pytest.mark.parametrize("name", ["", "\n", "猫 \udce9", "a " * 90])
def test_any_size_and_name_can_have_a_legend(size, name):
    image = np.full((*size, 3), 90, np.uint8)
    labels = np.ones(size, np.int32)
    labels[: size[0] // 2] = 2
    assert overlay(image, labels, [name, "dog"]).shape == image.shape
