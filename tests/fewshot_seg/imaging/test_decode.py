"""Every kind of image file that people have, good and bad."""

from __future__ import annotations

import os
import socket
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.ImageOps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from fewshot_seg.errors import ImageError, ShapeError, describe
from fewshot_seg.imaging.decode import MAX_PIXELS, read_image
from tests.fewshot_seg.image_files import encoded, picture, png_bytes, write_bad_images, write_good_images
from tests.privileges import folder_for_everyone, unprivileged


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_good_images(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_bad_images(tmp_path_factory.mktemp("bad"))


def refusal(source: object, **options: int) -> str:
    """The message with which `read_image` refuses a source: one line, which names the source."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            read_image(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{describe(source)}: ")
    assert len(message) - len(describe(source)) < 200
    return message


def read_or_one_line(path: Path) -> NDArray[np.uint8] | None:
    """The image, or None where it is refused in one line; any other error is a bug."""
    message = ""
    try:
        return read_image(path, max_pixels=1_000_000)
    except ImageError as error:
        message = str(error)
    assert message
    assert "\n" not in message
    return None


def difference(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    assert image.shape == other.shape
    return float(np.abs(image.astype(int) - other.astype(int)).mean())


GOOD = [
    *("rgb_png", "gray_png", "gray_alpha_png", "rgba_png", "palette_png", "palette_transparent_png"),
    *("bilevel_png", "rgb_bmp", "rgb_ppm", "rgb_webp", "cmyk_jpg", "rgb_jpg", "png_named_jpg"),
    *("gray16_png", "gray16_tif", "float_tif", "int32_tif"),
    *(f"exif_{orientation}" for orientation in range(1, 9)),
    *("animated_gif", "animated_png", "animated_webp", "pages_tif", "stereo_mpo"),
    *("size_1x1", "size_1x4000", "size_4000x1"),
    *("name_spaces", "name_equals", "name_brackets", "name_unicode", "name_dash", "name_percent"),
]

BAD = {
    "missing": "no such file",
    "folder": "is a folder",
    "empty_jpg": "empty",
    "truncated_jpg": "truncated",
    "truncated_png": "truncated",
    "header_only_jpg": "damaged or cut short",
    "text_jpg": "not an image in a format that can be read",
    "drawing_svg": "not an image in a format that can be read",
    "layers_psd": "not an image in a format that can be read",
    "script_eps": "not an image in a format that can be read",
    "phone_heic": "HEIC",
    "bomb_png": "12000x12000 is more than 100 million pixels",
    "lying_header_png": "more than 100 million pixels",
    "text_bomb_png": "too large",
    "cut_header_gif": "damaged or cut short",
    "cut_header_tif": "damaged or cut short",
}


def test_the_lists_here_are_complete(good: dict[str, Path], bad: dict[str, Path]) -> None:
    assert set(GOOD) == set(good)
    assert set(BAD) == set(bad)


@pytest.mark.parametrize("name", GOOD)
def test_reads_every_kind_of_image(good: dict[str, Path], name: str) -> None:
    image = read_image(good[name])
    sizes = {"size_1x1": (1, 1), "size_1x4000": (1, 4000), "size_4000x1": (4000, 1)}
    assert image.shape == (*sizes.get(name, (48, 64)), 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize("name", BAD)
def test_refuses_bad_input_in_one_line(bad: dict[str, Path], name: str) -> None:
    assert BAD[name].lower() in refusal(bad[name]).lower()


LOSSLESS = ["rgb_png", "rgb_bmp", "rgb_ppm", "png_named_jpg", "animated_png", "pages_tif", "name_brackets"]
LOSSY = {"rgb_jpg": 2, "rgb_webp": 3, "animated_webp": 3, "stereo_mpo": 3, "animated_gif": 5, "cmyk_jpg": 2}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_come_out_exactly(good: dict[str, Path], name: str) -> None:
    assert np.array_equal(read_image(good[name]), picture())


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_files_and_first_frames_come_out_closely(good: dict[str, Path], name: str) -> None:
    assert difference(read_image(good[name]), picture()) < LOSSY[name]


@pytest.mark.parametrize("name", ["gray16_png", "gray16_tif", "float_tif", "int32_tif"])
def test_grey_of_more_than_eight_bits_is_scaled_not_clipped(good: dict[str, Path], name: str) -> None:
    red = picture()[:, :, 0]
    assert np.array_equal(read_image(good[name]), np.repeat(red[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 0.5, 1.0]], [0, 128, 255]),
        ([[0.0, 128.0, 255.0]], [0, 128, 255]),
        ([[0.0, 257.0, 65535.0]], [0, 1, 255]),
        ([[-100.0, 0.0, 100.0]], [0, 128, 255]),
        ([[1e6, 2e6, 3e6]], [0, 128, 255]),
        ([[-5.0, -5.0, -5.0]], [0, 0, 0]),
    ],
)
def test_float_ranges(tmp_path: Path, values: list[list[float]], expected: list[int]) -> None:
    Image.fromarray(np.array(values, dtype=np.float32)).save(tmp_path / "f.tif")
    assert read_image(tmp_path / "f.tif")[0, :, 0].tolist() == expected


def test_nan_in_a_float_file(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, 1.0]], dtype=np.float32)).save(tmp_path / "f.tif")
    assert "NaN" in refusal(tmp_path / "f.tif")


def test_integers_beyond_sixteen_bits_are_stretched(tmp_path: Path) -> None:
    values = np.array([[-(2**31), 0, 2**31 - 1]], dtype=np.int32)
    Image.fromarray(values).save(tmp_path / "i.tif")
    assert read_image(tmp_path / "i.tif")[0, :, 0].tolist() == [0, 128, 255]


def test_grey_is_repeated_into_three_channels(good: dict[str, Path]) -> None:
    image = read_image(good["gray_png"])
    assert np.array_equal(image, np.repeat(image[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "La", "RGBa"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    clear = Image.new("RGBA", (3, 2), (200, 200, 200, 0))
    solid = Image.new("RGBA", (3, 2), (200, 200, 200, 255))
    steps = {"P": ["L", "P"], "La": ["LA", "La"]}.get(mode, [mode])
    for image, value in ((clear, 255), (solid, 200)):
        converted = image
        for step in steps:
            converted = converted.convert(step)
        if mode == "P":
            converted.putalpha(image.getchannel("A"))
            assert converted.mode == "PA"
        assert (read_image(converted) == value).all()


def test_half_transparent_is_mixed_with_white() -> None:
    assert (read_image(Image.new("RGBA", (1, 1), (0, 0, 0, 127))) == 128).all()


def test_transparent_palette_entry_is_white(good: dict[str, Path]) -> None:
    with Image.open(good["palette_transparent_png"]) as image:
        indices = np.array(image)
    assert (read_image(good["palette_transparent_png"])[indices == 0] == 255).all()


def test_transparent_colour_key_is_white(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    Image.new("L", (2, 2), 7).save(tmp_path / "grey_key.png", transparency=7)
    assert (read_image(tmp_path / "key.png") == 255).all()
    assert (read_image(tmp_path / "grey_key.png") == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_as_a_viewer_shows_it(good: dict[str, Path], orientation: int) -> None:
    path = good[f"exif_{orientation}"]
    assert difference(read_image(path), picture()) < 2
    with Image.open(path) as image:
        shown = np.array(PIL.ImageOps.exif_transpose(image))
        assert np.array_equal(read_image(path), shown)
        assert np.array_equal(read_image(image), shown)  # a PIL image is turned too


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_exif_orientation_of_other_formats(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(np.rot90(picture()).copy()).save(path, exif=exif, lossless=True)
    assert np.array_equal(read_image(path), picture())


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_exif_beside_good_pixels_is_ignored(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert difference(read_image(tmp_path / "a.jpg"), picture()) < 2


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_there_is_not_turns_nothing(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture())


@pytest.mark.parametrize("form", ["str", "path", "pil", "array"])
def test_every_form_of_input_gives_the_same(good: dict[str, Path], form: str) -> None:
    path = good["rgb_png"]
    forms = {"str": str(path), "path": path, "pil": Image.fromarray(picture()), "array": picture()}
    assert np.array_equal(read_image(forms[form]), picture())  # type: ignore[arg-type]


def test_arrays() -> None:
    image = picture()
    assert read_image(image) is image
    assert np.array_equal(read_image(image[:, :, 0]), np.repeat(image[:, :, :1], 3, axis=2))
    assert read_image(image[::-1, ::2]).flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16, bool, object])
def test_arrays_of_another_type(dtype: type) -> None:
    assert "uint8" in refusal(np.zeros((4, 4, 3), dtype=dtype))


def test_array_with_nan() -> None:
    assert "NaN" in refusal(np.full((4, 4, 3), np.nan))


@pytest.mark.parametrize("shape", [(), (4,), (3, 4, 4), (4, 4, 1), (4, 4, 4), (1, 4, 4, 3), (0, 4, 3), (4, 0)])
def test_arrays_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        read_image(np.zeros(shape, dtype=np.uint8))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("source", [None, 3, b"a.jpg", [1, 2]])
def test_what_is_no_input_at_all(source: object) -> None:
    assert "not an image" in refusal(source)


def test_empty_pil_image() -> None:
    assert "no pixels" in refusal(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("name", ["", "nul\0byte.jpg", "a" * 5000, "two\nlines.jpg", "bytes\udcff.jpg"])
def test_impossible_names(name: str) -> None:
    refusal(name)


def test_names_that_would_break_a_line_are_escaped() -> None:
    assert describe("two\nlines.jpg") == r"'two\nlines.jpg'"
    assert describe("bytes\udcff.jpg").isprintable()
    assert describe("") == "''"
    assert describe(Path("Übung 猫.png")) == "Übung 猫.png"
    assert describe(picture()) == "array (48, 64, 3)"
    assert describe(Image.new("L", (7, 5))) == "PIL image 7x5"
    assert describe(None) == "object of type NoneType"


def test_permission_denied() -> None:
    with folder_for_everyone() as folder:
        path = folder / "secret.png"
        path.write_bytes(encoded(Image.fromarray(picture()), "PNG"))
        path.chmod(0)
        with unprivileged():
            assert "permission denied" in refusal(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_sockets_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a regular file" in refusal(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.bind(str(tmp_path / "s"))
        except OSError:
            pytest.skip("the path is too long for a socket")
        assert "not a regular file" in refusal(tmp_path / "s")


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    refusal(tmp_path / "a.jpg")


def test_the_limit_of_pixels_is_a_keyword(tmp_path: Path, bad: dict[str, Path]) -> None:
    Image.new("L", (100, 50)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=5000).shape == (50, 100, 3)
    assert "100x50" in refusal(tmp_path / "a.png", max_pixels=4999)
    assert "100x50" in refusal(Image.new("L", (100, 50)), max_pixels=4999)
    assert MAX_PIXELS == 100_000_000


def test_a_raised_limit_reads_what_pillow_would_refuse(tmp_path: Path) -> None:
    # 180 million pixels: beyond Pillow's own error, in a JPEG that is decoded at an eighth of that.
    path = tmp_path / "wide.jpg"
    Image.new("L", (60_000, 3_000)).save(path, quality=10)
    assert "more than 100 million" in refusal(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path, max_pixels=200_000_000, min_side=300).shape == (375, 7500, 3)


def test_a_text_chunk_bomb_behind_the_pixels(tmp_path: Path) -> None:
    text = b"Comment\0\1\0\0\0" + zlib.compress(bytes(8_000_000))
    chunks = (
        (b"IDAT", zlib.compress(bytes(16))),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(8_000_000))),
    )
    (tmp_path / "late.png").write_bytes(png_bytes(8, 8, *chunks))
    (tmp_path / "unicode.png").write_bytes(png_bytes(8, 8, (b"iTXt", text), chunks[0]))
    for name in ("late.png", "unicode.png"):
        assert "too large" in refusal(tmp_path / name).lower()


def test_a_webp_bomb(tmp_path: Path) -> None:
    side = struct.pack("<I", 16_382)[:3]
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + side + side
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(canvas)) + b"WEBP" + canvas)
    refusal(tmp_path / "a.webp")


def test_a_turned_sixteen_bit_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = picture()[:, :, 0].astype(np.uint16) * 257
    Image.fromarray(np.rot90(wide).copy()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png")[:, :, 0], picture()[:, :, 0])


def test_a_tiff_whose_directory_points_at_itself(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0\x00\x00" + struct.pack("<I", 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError):
            read_image(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith(("name_", "size_"))])
def test_a_file_cut_short_is_refused_or_whole(good: dict[str, Path], tmp_path: Path, name: str) -> None:
    content, whole = good[name].read_bytes(), read_image(good[name])
    path = tmp_path / "cut"
    for part in (0, 3, 20, 40, 60, 80, 90, 97, 99.5):
        path.write_bytes(content[: int(len(content) * part / 100)])
        try:
            image = read_image(path)
        except ImageError:
            continue
        # Only what follows the first frame's pixels was lost: never a picture that is half grey.
        assert np.array_equal(image, whole)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "damaged"


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from([name for name in GOOD if not name.startswith(("name_", "exif_"))]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
    near_start=st.booleans(),
)
def test_damaged_files_raise_nothing_but_our_errors(
    good: dict[str, Path], scratch: Path, name: str, changes: list[tuple[float, int]], near_start: bool
) -> None:
    content = bytearray(good[name].read_bytes())
    reach = min(len(content), 200) if near_start else len(content)
    for place, value in changes:
        content[int(place * reach)] = value
    scratch.write_bytes(content)
    image = read_or_one_line(scratch)
    assert image is None or (image.dtype == np.uint8 and image.shape[2] == 3)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a", b"P6\n", b"BM"]))
def test_random_bytes_raise_nothing_but_our_errors(scratch: Path, content: bytes, start: bytes) -> None:
    scratch.write_bytes(start + content)
    read_or_one_line(scratch)


def test_a_reduced_jpeg_is_large_enough_and_alike(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = picture(1203, 807)
    Image.fromarray(np.rot90(shown).copy()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    whole = read_image(tmp_path / "a.jpg")
    for min_side, scale in ((900, 1), (404, 1), (403, 2), (202, 2), (201, 4), (100, 8), (1, 8)):
        image = read_image(tmp_path / "a.jpg", min_side=min_side)
        expected = -(-1203 // scale), -(-807 // scale)
        assert image.shape[:2] == expected
        resized = Image.fromarray(whole).resize(expected[::-1], Image.Resampling.BOX)
        assert difference(image, np.array(resized)) < 1.5


def test_a_reduced_read_leaves_the_callers_image_and_other_formats_whole(good: dict[str, Path]) -> None:
    with Image.open(good["rgb_jpg"]) as image:
        assert read_image(image, min_side=4).shape == (48, 64, 3)
    assert read_image(good["rgb_png"], min_side=4).shape == (48, 64, 3)
    assert read_image(good["rgb_jpg"], min_side=4).shape == (6, 8, 3)


def test_a_bomb_is_refused_before_it_is_reduced(tmp_path: Path) -> None:
    Image.new("L", (4000, 400)).save(tmp_path / "a.jpg")
    assert "4000x400" in refusal(tmp_path / "a.jpg", max_pixels=1_000_000, min_side=10)


def test_readers_in_threads_give_the_same(good: dict[str, Path]) -> None:
    paths = list(good.values())
    alone = [read_image(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(read_image, paths))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_files_are_closed(good: dict[str, Path], bad: dict[str, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for path in [*good.values(), *bad.values()]:
            with suppress(ImageError):
                read_image(path)


@pytest.mark.parametrize(("feature", "suffix"), [("avif", ".avif"), ("jpg_2000", ".jp2")])
def test_formats_that_not_every_pillow_has(tmp_path: Path, feature: str, suffix: str) -> None:
    if not features.check(feature):
        pytest.skip(f"this Pillow was built without {feature}")
    Image.fromarray(picture()).save(tmp_path / f"a{suffix}")
    assert difference(read_image(tmp_path / f"a{suffix}"), picture()) < 4
