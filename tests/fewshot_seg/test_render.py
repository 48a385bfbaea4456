from __future__ import annotations

import numpy as np
import pytest

from fewshot_seg.errors import ShapeError
from fewshot_seg.render import PALETTE, Tile, above, class_colour, heat_map, overlay, seed_map, sheet

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
