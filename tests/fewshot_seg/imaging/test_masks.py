"""Masks of every kind that annotation tools write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from fewshot_seg.errors import DataError, ImageError, ShapeError
from fewshot_seg.imaging.masks import read_mask
from tests.fewshot_seg.image_files import STORED_AS, write_bad_images

VOC_COLOURS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def square(height: int = 48, width: int = 64) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[8:24, 8:48] = True
    return mask


def palette(values: NDArray[np.uint8], colours: list[int]) -> Image.Image:
    image = Image.fromarray(values, "L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours)
    return image


@pytest.mark.parametrize("value", [1, 15, 255])
@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16", "I", "F", "RGB", "RGBA", "LA"])
def test_every_mode(tmp_path: Path, mode: str, value: int) -> None:
    values = square() * np.uint8(value)
    if mode == "P":
        image = palette(values, VOC_COLOURS)
    elif mode == "1":
        image = Image.fromarray(square())
    elif mode in ("I;16", "I", "F"):
        image = Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        image = Image.fromarray(values).convert(mode)
    path = tmp_path / ("mask.tif" if mode in ("I", "F") else "mask.png")
    image.save(path)
    for source in (path, str(path), image):
        mask = read_mask(source, (48, 64))
        assert mask.dtype == np.bool_
        assert np.array_equal(mask, square())


def test_voc_indices_count_whatever_their_colours(tmp_path: Path) -> None:
    values = square() * np.uint8(3)
    palette(values, [255, 255, 255, 9, 9, 9, 0, 0, 0, 0, 0, 0]).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), square())


def test_void_is_left_out() -> None:
    values = square() * np.uint8(15)
    values[30:, :] = 255
    image = palette(values, VOC_COLOURS)
    assert np.array_equal(read_mask(image, void=255), square())
    assert read_mask(image).sum() == square().sum() + 18 * 64
    assert np.array_equal(read_mask(values, void=255), square())
    assert np.array_equal(read_mask(Image.fromarray(values), void=255), square())
    with pytest.raises(DataError, match="no foreground"):
        read_mask(np.full((4, 4), 255, dtype=np.uint8), void=255)


def test_a_palette_that_an_optimiser_turned_round(tmp_path: Path) -> None:
    values = 1 - square().astype(np.uint8)  # index 0, white, is the object
    palette(values, [255, 255, 255, 0, 0, 0]).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), square())


def test_a_palette_without_black_and_white_goes_by_index() -> None:
    assert np.array_equal(read_mask(palette(square().astype(np.uint8), [0, 0, 0, 0, 0, 0])), square())
    assert np.array_equal(read_mask(palette(square().astype(np.uint8), [0, 0, 0, 255, 255, 255])), square())


def test_a_cut_out_goes_by_its_alpha() -> None:
    cut_out = np.zeros((48, 64, 4), dtype=np.uint8)
    cut_out[square()] = (0, 0, 0, 255)  # a black object on a transparent ground
    assert np.array_equal(read_mask(Image.fromarray(cut_out)), square())
    assert np.array_equal(read_mask(cut_out), square())


def test_a_cut_out_of_a_palette_or_grey_goes_by_its_alpha(tmp_path: Path) -> None:
    cut_out = Image.fromarray(np.where(square(), 3, 5).astype(np.uint8))
    cut_out.save(tmp_path / "grey.png", transparency=5)
    palette(np.array(cut_out), [*VOC_COLOURS, 9, 9, 9, 7, 7, 7]).save(tmp_path / "palette.png", transparency=5)
    for name in ("grey.png", "palette.png"):
        assert np.array_equal(read_mask(tmp_path / name), square())


def test_jpeg_masks_are_cut_at_half(tmp_path: Path) -> None:
    Image.fromarray(square() * np.uint8(255)).save(tmp_path / "m.jpg", quality=40)
    assert (np.array(Image.open(tmp_path / "m.jpg")) > 0).mean() > square().mean()
    assert np.array_equal(read_mask(tmp_path / "m.jpg"), square())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_of_a_mask_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = STORED_AS[orientation](square() * np.uint8(255))
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "m.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "m.png", (48, 64)), square())


def test_another_size_names_both_sizes_and_files(tmp_path: Path) -> None:
    Image.fromarray(square()).save(tmp_path / "m.png")
    with pytest.raises(ShapeError) as caught:
        read_mask(tmp_path / "m.png", (100, 200), image=tmp_path / "cat.jpg")
    message = str(caught.value)
    for part in ("m.png", "cat.jpg", "64x48", "200x100"):
        assert part in message
    assert "\n" not in message
    with pytest.raises(ShapeError, match=r"its image is 48x64; .*EXIF"):
        read_mask(tmp_path / "m.png", (64, 48))


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "1"])
def test_an_empty_mask(tmp_path: Path, kind: str) -> None:
    Image.new(kind, (5, 4)).save(tmp_path / "none.png")
    with pytest.raises(DataError, match=r"none\.png: the mask has no foreground"):
        read_mask(tmp_path / "none.png")


@given(
    hnp.arrays(
        st.sampled_from([np.bool_, np.uint8, np.int64, np.uint16, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_arrays_of_any_number_type(values: NDArray[np.generic]) -> None:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        with pytest.raises(ImageError, match="NaN"):
            read_mask(values)
    elif not numbers.any():
        with pytest.raises(DataError):
            read_mask(values)
    else:
        assert np.array_equal(read_mask(values, numbers.shape), numbers != 0)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (2, 4, 4, 1), ()])
def test_arrays_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        read_mask(np.ones(shape))


def test_arrays_in_colour_or_with_one_channel() -> None:
    assert np.array_equal(read_mask(square()[:, :, None]), square())
    colours = np.zeros((48, 64, 3), dtype=np.uint8)
    colours[square(), 1] = 7
    assert np.array_equal(read_mask(colours), square())
    with pytest.raises(ImageError, match="numbers"):
        read_mask(np.array([["a"]]))
    with pytest.raises(DataError):
        read_mask(np.zeros((0, 4)))


def test_a_float_file_with_nan(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, 1]], dtype=np.float32)).save(tmp_path / "m.tif")
    with pytest.raises(ImageError, match="NaN"):
        read_mask(tmp_path / "m.tif")


def test_bad_files_are_refused_as_images_are(tmp_path: Path) -> None:
    for path in write_bad_images(tmp_path).values():
        with pytest.raises(ImageError) as caught:
            read_mask(path)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.realdata
def test_voc_masks(shared_data: Path) -> None:
    entries = (shared_data / "voc" / "dev.txt").read_text().split()[:20]
    for name in (entry.split("__")[0] for entry in entries):
        path = shared_data / "voc" / "SegmentationClass" / f"{name}.png"
        with Image.open(path) as file:
            labels = np.array(file)
        assert np.array_equal(read_mask(path, labels.shape, void=255), (labels > 0) & (labels < 255))
