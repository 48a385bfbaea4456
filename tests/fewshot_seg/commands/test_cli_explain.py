"""`fewshot-seg explain`."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.fewshot_seg.command_line import error_line, fewshot, names_in


@pytest.mark.parametrize("count", [2, 3, 4])
def test_explain_a_tuple(photos, tmp_path, count):
    images = [photos / "cat.png", photos / "cat face.png", photos / "cup.jpg", photos / "mask.png"][:count]
    result = fewshot("explain", *images, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    content = json.loads((tmp_path / "explain.json").read_text("utf-8"))
    assert [image["path"] for image in content["images"]] == [str(path) for path in images]
    assert len(content["similarities"]) == count * (count - 1) // 2
    assert content["through_norm"] is False
    assert 0.5 < content["similarities"][0]["cosine"] < 1
    with Image.open(tmp_path / content["sheet"]) as sheet:
        assert sheet.width > count * 300
    for path, image in zip(images, content["images"], strict=True):
        with Image.open(tmp_path / image["overlay"]) as overlay, Image.open(path) as original:
            assert overlay.size == original.size
    assert str(tmp_path / "explain.png") in result.stdout


def test_explain_options_change_the_maps(photos, tmp_path):
    pair = (photos / "cat.png", photos / "cup.jpg")
    pictures = set()
    for number, options in enumerate([[], ["--different"], ["--letter"], ["--through-norm"]]):
        assert fewshot("explain", *pair, *options, "--out", tmp_path / str(number)).exit_code == 0
        pictures.add((tmp_path / str(number) / "cat_attention.jpg").read_bytes())
    assert len(pictures) == 3


def test_explain_the_same_image_twice(photos, tmp_path):
    result = fewshot("explain", photos / "cat.png", photos / "cat.png", "--out", tmp_path)
    assert result.exit_code == 0
    assert {"cat_attention.jpg", "cat-2_attention.jpg"} < set(names_in(tmp_path))
    assert "1.000" in result.stdout


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (["cat.png"], [], "2 to 4"),
        (["cat.png"] * 5, [], "2 to 4"),
        (["cat.png", "cup.jpg", "mask.png"], ["--different"], "pair"),
        (["cat.png", "nowhere.png"], [], "nowhere.png"),
    ],
)
def test_explain_mistakes(photos, tmp_path, images, options, message):
    result = fewshot("explain", *(photos / name for name in images), *options, "--out", tmp_path / "out")
    assert message in error_line(result)
    assert not (tmp_path / "out").exists(), "nothing is made before the images are read"


@pytest.mark.parametrize("name", ["explain.json", "explain.png", "cat_attention.jpg"])
def test_a_file_of_others_is_never_replaced(photos, tmp_path, name):
    (tmp_path / name).write_text("{}")
    result = fewshot("explain", photos / "cat.png", photos / "cup.jpg", "--out", tmp_path)
    assert f"{name} is there, and no result of an earlier run" in error_line(result)
    assert names_in(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "{}"
