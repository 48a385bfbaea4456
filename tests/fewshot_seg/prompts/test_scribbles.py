"""Scribbles of every kind: in colour, in grey, as labels; on paper, on a layer, on the photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from fewshot_seg.errors import DataError, ImageError, ShapeError
from fewshot_seg.prompts.scribbles import read_scribble

SIZE = (20, 30)
ON, OFF = np.s_[3:6, 4:20], np.s_[12:15, 2:28]


def expected() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    foreground, background = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    foreground[ON], background[OFF] = True, True
    return foreground, background


def drawn(ground: Any, on: Any, off: Any) -> NDArray[np.uint8]:
    canvas = np.empty((*SIZE, len(ground)), np.uint8)
    canvas[:], canvas[ON], canvas[OFF] = ground, on, off
    return canvas


def check(source: Any, *, off: bool = True) -> None:
    foreground, background = read_scribble(source, SIZE)
    np.testing.assert_array_equal(foreground, expected()[0])
    np.testing.assert_array_equal(background, expected()[1] & off)


GREEN, RED, WHITE, BLACK = (0, 255, 0), (255, 0, 0), (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize(
    ("ground", "on", "off"),
    [
        (BLACK, GREEN, RED),
        (WHITE, GREEN, RED),
        ((120, 130, 90), GREEN, RED),
        (BLACK, WHITE, RED),
        (WHITE, GREEN, BLACK),
        ((0, 0, 0, 0), (*GREEN, 255), (*RED, 255)),
        ((0, 0, 0, 0), (*WHITE, 255), (*BLACK, 255)),
        ((255, 0, 0, 0), (*GREEN, 255), (*RED, 255)),
        ((128, 128, 128), WHITE, BLACK),
        (BLACK, (30, 230, 40), (220, 20, 55)),
    ],
)
def test_colours(ground: Any, on: Any, off: Any, tmp_path: Path) -> None:
    array = drawn(ground, on, off)
    check(array)
    check(Image.fromarray(array))
    Image.fromarray(array).save(tmp_path / "scribble.png")
    check(tmp_path / "scribble.png")
    if len(ground) == 3:
        check(Image.fromarray(array).quantize(8))


@pytest.mark.parametrize("ground", [BLACK, (128, 128, 128)])
def test_grey_strokes(ground: Any) -> None:
    array = drawn(ground, WHITE, ground if ground == BLACK else BLACK)[:, :, 0]
    check(array, off=ground != BLACK)
    check(Image.fromarray(array), off=ground != BLACK)


def test_one_bit_and_booleans_mark_the_object_alone() -> None:
    foreground = expected()[0]
    check(foreground, off=False)
    check(Image.fromarray(foreground), off=False)


def test_labels(tmp_path: Path) -> None:
    labels = drawn((0,), (1,), (2,))[:, :, 0]
    labels[0] = 255
    check(labels)
    check(labels.astype(np.int64))
    Image.fromarray(labels).save(tmp_path / "grey.png")
    check(tmp_path / "grey.png")
    palette = Image.fromarray(labels)
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    check(palette)


def test_a_photo_without_strokes_marks_nothing_much_and_with_them_just_these() -> None:
    photo = skimage.data.chelsea().copy()  # type: ignore[no-untyped-call]
    with pytest.raises(DataError, match="no stroke"):
        read_scribble(photo)
    photo[100:110, 200:300], photo[10:20, 10:60] = GREEN, RED
    foreground, background = read_scribble(photo)
    assert (foreground.sum(), background.sum()) == (1000, 500)


def test_smooth_strokes_in_a_jpeg(tmp_path: Path) -> None:
    canvas = np.full((200, 300, 3), 255, np.uint8)
    canvas[40:60, 40:200], canvas[120:140, 20:280] = GREEN, RED
    Image.fromarray(canvas).save(tmp_path / "scribble.jpg", quality=90)
    foreground, background = read_scribble(tmp_path / "scribble.jpg", (200, 300))
    assert foreground[44:56, 44:196].all()
    assert background[124:136, 24:276].all()
    assert not (foreground & background).any()
    assert not foreground[80:100].any()


@pytest.mark.parametrize("empty", [np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, bool)])
def test_an_empty_scribble(empty: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="no stroke"):
        read_scribble(empty)


def test_bad_scribbles(tmp_path: Path) -> None:
    labels = drawn((0,), (1,), (2,))[:, :, 0]
    with pytest.raises(ShapeError, match="save the scribble at the size"):
        read_scribble(labels, (9, 9))
    with pytest.raises(ShapeError, match="EXIF"):
        read_scribble(labels, SIZE[::-1])
    with pytest.raises(ShapeError, match="scribble array"):
        read_scribble(np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(ImageError, match="whole numbers"):
        read_scribble(np.zeros(SIZE))
    with pytest.raises(ImageError, match=r"gone\.png"):
        read_scribble(tmp_path / "gone.png")
