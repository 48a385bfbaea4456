from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fewshot_seg.errors import OutputError, ShapeError
from fewshot_seg.imaging.export import atomic_file, make_folder, write_image, write_json, write_label_png
from fewshot_seg.imaging.geometry import bounding_box, decode_rle, encode_rle

masks = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: a real write error in the middle of a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(masks)
def test_run_lengths_round_trip(mask):
    rle = encode_rle(mask)
    assert isinstance(rle["counts"], str)
    assert rle["size"] == list(mask.shape)
    np.testing.assert_array_equal(decode_rle(json.loads(json.dumps(rle))), mask)


@given(masks)
def test_bounding_box_is_the_smallest_around_the_mask(mask):
    x, y, w, h = bounding_box(mask)
    inside = np.zeros_like(mask)
    inside[y : y + h, x : x + w] = True
    assert not (mask & ~inside).any()
    if mask.any():
        box = mask[y : y + h, x : x + w]
        assert box[0].any()
        assert box[-1].any()
        assert box[:, 0].any()
        assert box[:, -1].any()
    else:
        assert [x, y, w, h] == [0, 0, 0, 0]


def test_bounding_box_agrees_with_coco(rng):
    from pycocotools import mask as coco

    mask = rng.random((20, 30)) > 0.98
    assert bounding_box(mask) == list(coco.toBbox(encode_rle(mask)))


def test_label_png_holds_the_labels_and_the_voc_colours(tmp_path, rng):
    labels = rng.integers(0, 256, (40, 30)).astype(np.int32)
    write_label_png(tmp_path / "a.png", labels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels)
        palette = np.asarray(image.getpalette()).reshape(-1, 3)
    assert palette[[0, 1, 15, 255]].tolist() == [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]


@pytest.mark.parametrize("label", [-1, 256])
def test_label_png_refuses_what_8_bits_cannot_hold(tmp_path, label):
    with pytest.raises(ShapeError, match=str(label)):
        write_label_png(tmp_path / "a.png", np.full((2, 2), label))
    assert not list(tmp_path.iterdir())


def test_images_by_suffix(tmp_path, rng):
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for name, kind in (("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG")):
        write_image(tmp_path / name, image)
        with Image.open(tmp_path / name) as written:
            assert written.format == kind
            assert written.size == (30, 20)
    with pytest.raises(OutputError, match=r"\.png"):
        write_image(tmp_path / "a.tiff", image)
    with pytest.raises(ShapeError, match="uint8"):
        write_image(tmp_path / "b.png", image[..., 0])


def test_a_jpeg_longer_than_jpeg_allows_is_made_smaller(tmp_path):
    write_image(tmp_path / "long.jpg", np.zeros((1, 70_000, 3), np.uint8))
    with Image.open(tmp_path / "long.jpg") as written:
        assert written.size == (65_500, 1)


def test_json_keeps_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xe7\x8c\xab.jpg")
    write_json(tmp_path / "a.json", {"path": name, "ä": 1})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"path": name, "ä": 1}
    assert "ä" in (tmp_path / "a.json").read_text("utf-8")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            _write_and_fail(path, error)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def _write_and_fail(path: Path, error: type[BaseException]) -> None:
    with atomic_file(path) as stream:
        stream.write(b"new")
        raise error


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, rng):
    path = tmp_path / "a.png"
    write_image(path, np.zeros((8, 8, 3), np.uint8))
    old = path.read_bytes()
    noise = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    with largest_file(10_000), pytest.raises(OutputError, match=r"a\.png"):
        write_image(path, noise)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_json(tmp_path / "a.json", {})
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_make_folder_makes_parents_and_leaves_nothing_in_them(tmp_path):
    folder = make_folder(tmp_path / "a" / "b c")
    assert folder.is_dir()
    assert not list(folder.iterdir())
    assert make_folder(folder) == folder


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_make_folder_says_why_it_cannot(tmp_path: Path, name: str):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        make_folder(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that nobody can write to")
def test_make_folder_where_nothing_can_be_written():
    for folder in ("/proc/fewshot-seg", "/proc/self"):
        with pytest.raises(OutputError, match="cannot write /proc"):
            make_folder(folder)
