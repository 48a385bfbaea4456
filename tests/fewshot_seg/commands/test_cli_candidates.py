"""`fewshot-seg segment --candidates` and `--mean`: what an example may mean, and what is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from fewshot_seg.commands.candidates import parse_mean
from fewshot_seg.commands.supports import Shot
from fewshot_seg.imaging.geometry import decode_rle
from tests.fewshot_seg.command_line import error_line, fewshot, names_in, results_of


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cat, and right of it a cup."""
    path = tmp_path_factory.mktemp("both") / "both.png"
    Image.fromarray(np.hstack([skimage.data.chelsea()[:, 60:360], skimage.data.coffee()[:300, 100:500]])).save(path)
    return path


def test_one_of_the_numbered_things_is_meant(both, photos, tmp_path):
    asked = ("segment", both, "-s", f"it={both}", "--out", tmp_path)
    first = fewshot(*asked, "--candidates")
    assert first.exit_code == 0, first.stderr
    assert names_in(tmp_path) == ["candidates.json", "candidates.png"]
    assert Image.open(tmp_path / "candidates.png").size[0] > 600
    (example,) = results_of(tmp_path, "candidates.json")["examples"]
    masks = [decode_rle(one) for one in example["candidates"]]
    shares = [mask[:, :300].sum() / mask.sum() for mask in masks[:3]]
    cat = int(np.argmax(shares))
    assert shares[cat] > 0.9
    assert min(shares) < 0.5
    meant = fewshot(*asked, "--mean", str(cat + 1), "--always")
    assert meant.exit_code == 0, meant.stderr
    assert not meant.stderr
    found = np.asarray(Image.open(tmp_path / "both_mask.png")) > 0
    assert found[:, :300].sum() > 0.8 * found.sum()
    assert fewshot(*asked, "--candidates").exit_code == 0
    assert "candidates" in error_line(fewshot(*asked, "--mean", "it=99"))


def test_what_is_not_ours_is_not_replaced(both, tmp_path):
    (tmp_path / "candidates.png").write_bytes(b"mine")
    refused = fewshot("segment", both, "-s", both, "--out", tmp_path, "--candidates")
    assert "candidates.png" in error_line(refused)
    assert (tmp_path / "candidates.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("mean", "says"),
    [
        (["2"], "names no class"),
        (["cup=2"], "2 support(s) but 1"),
        (["dog=2"], "names no class"),
        (["cat=0"], "no number"),
        (["cat=two"], "no number"),
        (["cat=1", "cat=1"], "1 support(s) but 2"),
    ],
)
def test_a_bad_number_is_named(mean, says, photos, tmp_path):
    supports = (
        "-s",
        f"cat={photos / 'cat.png'}",
        "-s",
        f"cup={photos / 'cup.jpg'}",
        "-s",
        f"cup={photos / 'cat face.png'}",
    )
    given = [text for value in mean for text in ("--mean", value)]
    assert says in error_line(fewshot("segment", photos / "cat.png", *supports, *given, "--out", tmp_path))


def test_numbers_are_of_the_examples_in_order():
    classes = {"cat": [Shot(Path("a")), Shot(Path("b"))], "cup": [Shot(Path("c"))]}
    assert parse_mean(["cat=2", "cup=1", "cat=-"], classes) == {"cat": [2, None], "cup": [1]}
    assert parse_mean(["3"], {"cup": [Shot(Path("c"))]}) == {"cup": [3]}


def test_a_mask_and_a_number_do_not_go_together(photos, tmp_path):
    given = ("--support-mask", f"cat={photos / 'mask.png'}", "--mean", "1")
    refused = fewshot("segment", photos / "cat.png", "-s", f"cat={photos / 'cat.png'}", *given, "--out", tmp_path)
    assert "give one" in error_line(refused)
