"""From an image to a network's input, and from its map back to the image."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import fewshot_seg as fs
from fewshot_seg.errors import ConfigError, DataError, ImageError, ShapeError
from fewshot_seg.imaging import images
from fewshot_seg.imaging.images import Preprocessing, load_batch, preprocess, resize_map
from tests.fewshot_seg.image_files import picture, write_bad_images, write_good_images


@dataclass
class Eyes:
    """The part of an embedder that `load_batch` uses."""

    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(size=96))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def plain(size: int, interpolation: str = "bilinear") -> Preprocessing:
    """Values stay value / 255."""
    return Preprocessing(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_public_names() -> None:
    assert fs.images is images
    for name in images.__all__:
        assert hasattr(fs.images, name)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4000), (4000, 1), (300, 200), (64, 64), (20, 31)])
def test_preprocess_is_pillows_antialiased_resize(height: int, width: int, interpolation: str) -> None:
    image = noise(height, width)
    tensor = preprocess(image, plain(64, interpolation))
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    expected = np.array(Image.fromarray(image).resize((64, 64), method)).transpose(2, 0, 1)
    assert tensor.shape == (3, 64, 64)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert np.abs(tensor.numpy() * 255 - expected).max() <= 2.001  # both round to bytes, twice


def test_preprocess_normalises() -> None:
    image = np.full((50, 40, 3), (0, 128, 255), dtype=np.uint8)
    tensor = preprocess(image, Preprocessing(size=32))
    for channel, value in enumerate((0, 128, 255)):
        mean, std = Preprocessing().mean[channel], Preprocessing().std[channel]
        assert torch.allclose(tensor[channel], torch.tensor((value / 255 - mean) / std), atol=1e-5)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = noise(32, 32)
    tensor = preprocess(image, plain(32))
    assert np.array_equal((tensor * 255).round().byte().numpy().transpose(1, 2, 0), image)


def test_preprocess_does_not_depend_on_threads() -> None:
    image, before = noise(700, 900), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(preprocess(image, Preprocessing(96)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_preprocess_takes_read_only_and_sliced_arrays_and_changes_none() -> None:
    image = noise(40, 50)
    copy = image.copy()
    image.flags.writeable = False
    expected = preprocess(image[::-1], Preprocessing(32))
    assert torch.equal(preprocess(image[::-1].copy(), Preprocessing(32)), expected)
    preprocess(image, Preprocessing(40))
    assert np.array_equal(image, copy)


def test_preprocess_refuses_what_is_no_image() -> None:
    with pytest.raises(ShapeError):
        preprocess(np.zeros((3, 4, 4), dtype=np.uint8), Preprocessing())
    with pytest.raises(ImageError):
        preprocess(np.zeros((4, 4, 3), dtype=np.float32), Preprocessing())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 255), st.sampled_from(["bilinear", "bicubic"]))
def test_a_plain_image_stays_plain(height: int, width: int, value: int, interpolation: str) -> None:
    image = np.full((height, width, 3), value, dtype=np.uint8)
    tensor = preprocess(image, plain(32, interpolation))
    assert torch.allclose(tensor * 255, torch.tensor(float(value)), atol=1e-3)


def test_load_batch_of_every_good_image(tmp_path: Path) -> None:
    paths = list(write_good_images(tmp_path).values())
    eyes = Eyes()
    batch = load_batch(paths, eyes)
    assert batch.shape == (len(paths), 3, 96, 96)
    assert batch.dtype == torch.float32
    assert batch.isfinite().all()
    for path, tensor in zip(paths, batch, strict=True):  # nothing depends on what else is in the batch
        assert torch.equal(load_batch([path], eyes)[0], tensor)


def test_load_batch_takes_every_form_and_one_alone(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    path, eyes = tmp_path / "a.png", Eyes()
    expected = preprocess(picture(), eyes.preprocessing)[None]
    for source in (path, str(path), Image.fromarray(picture()), picture()):
        assert torch.equal(load_batch(source, eyes), expected)  # type: ignore[arg-type]
        assert torch.equal(load_batch([source, source], eyes), expected.repeat(2, 1, 1, 1))
    assert torch.equal(load_batch(np.stack([picture()] * 2), eyes), expected.repeat(2, 1, 1, 1))  # type: ignore[arg-type]


def test_a_large_jpeg_reduced_by_the_decoder_looks_the_same(tmp_path: Path) -> None:
    smooth = Image.fromarray(noise(75, 100)).resize((2000, 1500), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.jpg", quality=92)
    eyes = Eyes(plain(96))
    whole = preprocess(images.read_image(tmp_path / "a.jpg"), eyes.preprocessing)
    assert (load_batch([tmp_path / "a.jpg"], eyes)[0] - whole).abs().mean() * 255 < 1


def test_load_batch_refuses(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one"):
        load_batch([], Eyes())
    for path in write_bad_images(tmp_path).values():
        with pytest.raises(ImageError):
            load_batch([picture(), path], Eyes())


def test_preprocessing_to_and_from_plain_values() -> None:
    changed = Preprocessing(224, (0.5, 0.5, 0.5), (0.25, 0.5, 1), "bicubic")
    for one in (Preprocessing(), changed):
        assert Preprocessing.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert Preprocessing.from_dict({"size": 64}) == Preprocessing(64)
    assert hash(changed) == hash(Preprocessing.from_dict(changed.to_dict()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "size 0"),
        ({"size": 31}, "size 31"),
        ({"size": 5000}, "size 5000"),
        ({"size": 224.0}, "size 224.0"),
        ({"size": True}, "size True"),
        ({"size": "224"}, "size '224'"),
        ({"interpolation": "nearest"}, "'nearest'.*bilinear or bicubic"),
        ({"mean": (0.5, 0.5)}, "mean .*three"),
        ({"mean": 0.5}, "mean 0.5.*three"),
        ({"mean": ("a", "b", "c")}, "mean .*three"),
        ({"mean": (0.5, 0.5, math.nan)}, "mean .*finite"),
        ({"std": (1, 1, 0)}, "std .*above 0"),
        ({"std": (1, 1, -1)}, "std .*above 0"),
        ({"std": (1, 1, math.inf)}, "std .*finite"),
        ({"std": None}, "std None"),
        ({"interpolaton": "bilinear"}, "'interpolaton'; did you mean 'interpolation'"),
        ({"sizes": 1}, "'sizes'; did you mean 'size'"),
        ({7: 1}, "no key 7"),
        ([], "mapping"),
    ],
)
def test_bad_preprocessing(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Preprocessing.from_dict(values)
    assert "\n" not in str(caught.value)


def slow_resize(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    """Bilinear with half-pixel centres, one pixel at a time."""
    height, width = values.shape
    result = np.empty(size)
    for row in range(size[0]):
        for column in range(size[1]):
            y = min(max((row + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((column + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = values[top, left] * (1 - x + left) + values[top, right] * (x - left)
            lower = values[bottom, left] * (1 - x + left) + values[bottom, right] * (x - left)
            result[row, column] = upper * (1 - y + top) + lower * (y - top)
    return result


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 25), st.integers(1, 25), st.integers(0, 2**32 - 1))
def test_resize_map_against_the_slow_way(h: int, w: int, height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((h, w), dtype=np.float32)
    large = resize_map(values, (height, width))
    assert large.shape == (height, width)
    assert large.dtype == np.float32
    assert np.abs(large - slow_resize(values, (height, width))).max() < 1e-5
    assert large.min() >= values.min() - 1e-6
    assert large.max() <= values.max() + 1e-6


def test_resize_map_keeps_places() -> None:
    small = np.zeros((4, 4), dtype=np.float32)
    small[1, 2] = 1
    large = resize_map(small, (400, 800))
    rows, columns = np.nonzero(large > 0.9)
    assert abs(rows.mean() - 149.5) < 1
    assert abs(columns.mean() - 499.5) < 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40_000), (40_000, 1)])
def test_resize_map_to_odd_sizes(size: tuple[int, int]) -> None:
    assert resize_map(np.full((3, 5), 0.5, dtype=np.float64), size).shape == size


@pytest.mark.parametrize(("shape", "size"), [((3,), (4, 4)), ((1, 3, 3), (4, 4)), ((0, 3), (4, 4)), ((3, 3), (0, 4))])
def test_resize_map_refuses(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError):
        resize_map(np.zeros(shape, dtype=np.float32), size)


class TestRectangle:
    def test_the_image_is_stretched_to_height_and_width(self) -> None:
        image = picture(90, 50)
        wide = preprocess(image, Preprocessing(size=64, width=160))
        assert wide.shape == (3, 64, 160)
        rows = preprocess(image, Preprocessing(size=64))
        turned = preprocess(np.ascontiguousarray(image.transpose(1, 0, 2)), Preprocessing(size=160, width=64))
        torch.testing.assert_close(wide, turned.transpose(1, 2), rtol=0, atol=0.05)  # to a level of 255, with rounding
        assert (wide.mean((1, 2)) - rows.mean((1, 2))).abs().max() < 0.1

    def test_a_width_as_the_height_is_a_square(self) -> None:
        assert Preprocessing(size=64, width=64) == Preprocessing(size=64)
        assert Preprocessing(size=64).shape == (64, 64)
        assert Preprocessing(size=64, width=32).shape == (64, 32)

    def test_it_is_stored_where_there_is_one_and_old_values_are_read(self) -> None:
        tall = Preprocessing(size=256, width=128)
        assert Preprocessing.from_dict(tall.to_dict()) == tall
        assert "width" not in Preprocessing(size=64).to_dict()
        assert Preprocessing.from_dict({"size": 64}) == Preprocessing(size=64)

    @pytest.mark.parametrize("width", [31, 4097, 64.0, True, "64"])
    def test_impossible_widths(self, width: object) -> None:
        with pytest.raises(ConfigError, match="preprocessing width"):
            Preprocessing(size=128, width=width)  # type: ignore[arg-type]
