"""Supports in every form users give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fewshot_seg.errors import ConfigError, DataError, ImageError, ShapeError
from fewshot_seg.prompts.constraints import share_of
from fewshot_seg.prompts.supports import Support, group_supports, support_mask

PICTURE = np.zeros((20, 30, 3), np.uint8)


def test_one_image_a_list_and_a_mapping() -> None:
    for one in ("a.jpg", Path("a.jpg"), Image.new("RGB", (4, 4)), PICTURE, Support("a.jpg")):
        grouped = group_supports(one)
        assert list(grouped) == ["object"]
        assert len(grouped["object"]) == 1
    assert [s.image for s in group_supports(["a.jpg", Support("b.jpg")])["object"]] == ["a.jpg", "b.jpg"]
    grouped = group_supports({"cat": "c.jpg", "dog": ["d.jpg", Support("e.jpg", mask="e.png")]})
    assert [(name, len(shots)) for name, shots in grouped.items()] == [("cat", 1), ("dog", 2)]


@pytest.mark.parametrize(
    ("supports", "message"),
    [
        ({}, "no supports"),
        ([], "no supports"),
        ({"cat": []}, "'cat' has no supports"),
        ({"cat": ()}, "'cat' has no supports"),
        ({" ": "a.jpg"}, "empty name"),
        ({"cat": "a.jpg", "Cat ": "b.jpg"}, "given twice"),
        ({"cat": "a.jpg", "dog": "./a.jpg"}, "both 'cat' and 'dog'"),
    ],
)
def test_unusable_supports(supports: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        group_supports(supports)


def test_one_image_may_show_two_classes_where_masks_tell_them_apart() -> None:
    shots = {"cat": Support("a.jpg", mask="cat.png"), "dog": Support("a.jpg", box=(1, 2, 3, 4))}
    assert len(group_supports(shots)) == 2


@pytest.mark.parametrize("box", [(1, 2, 3), (0, 0, float("nan"), 4), "abcd", ("0", "0", "9", "9"), (0, (0, 1), 2, 3)])
def test_a_box_is_four_numbers(box: Any) -> None:
    with pytest.raises(ConfigError, match="a box is"):
        Support("a.jpg", box=box)


def test_mask_or_box() -> None:
    with pytest.raises(ConfigError, match="not both"):
        Support("a.jpg", mask="a.png", box=(0, 0, 1, 1))


def test_box_becomes_a_mask_cut_to_the_image() -> None:
    mask = support_mask(Support(PICTURE, box=(25, -5, 50, 10)), (20, 30))
    assert mask is not None
    assert mask[:5, 25:].all()
    assert mask.sum() == 25
    with pytest.raises(DataError, match="outside the image, 30x20"):
        support_mask(Support(PICTURE, box=(40, 0, 5, 5)), (20, 30))
    with pytest.raises(DataError, match="outside"):
        support_mask(Support(PICTURE, box=(3, 3, 0, 5)), (20, 30))
    assert support_mask(Support(PICTURE), (20, 30)) is None


def test_masks_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="10x10"):
        support_mask(Support(PICTURE, mask=np.ones((10, 10), bool)), (20, 30))
    with pytest.raises(DataError, match="no foreground"):
        support_mask(Support(PICTURE, mask=np.zeros((20, 30), bool)), (20, 30))
    with pytest.raises(ImageError, match=r"gone\.png"):
        support_mask(Support(PICTURE, mask=tmp_path / "gone.png"), (20, 30))


@given(row=st.integers(0, 299), column=st.integers(0, 399), h=st.integers(1, 14), w=st.integers(1, 14))
def test_the_smallest_mask_leaves_something_on_the_map(row: int, column: int, h: int, w: int) -> None:
    mask = np.zeros((300, 400), bool)
    mask[row, column] = True
    cover = share_of(mask, (h, w))
    assert cover.shape == (h, w)
    assert cover.max() > 0
    assert cover.sum() * 300 * 400 / (h * w) == pytest.approx(1, rel=1e-3)


def test_a_mask_smaller_than_the_map_covers_it() -> None:
    assert share_of(np.ones((1, 1), bool), (12, 12)).min() == 1


@pytest.mark.parametrize("shots", [None, 3, b"cat.jpg", "no\0file"])
def test_what_is_no_image_stays_one_shot_for_the_reader_to_name(shots: Any) -> None:
    assert [shot.image for shot in group_supports({"cat": shots, "dog": "dog.jpg"})["cat"]] == [shots]
