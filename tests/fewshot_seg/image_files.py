"""Real files, good and bad, as people have them: written by the tests that need them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION_TAG = 0x0112

# What a camera held in each EXIF orientation stores: the array a viewer must show -> the array in the file.
STORED_AS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),
    8: lambda shown: np.rot90(shown, -1),
}


def picture(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A smooth (height, width, 3) uint8 picture whose corners all differ, so that a turned one is noticed."""
    rows = np.linspace(0, 1, height)[:, None]
    columns = np.linspace(0, 1, width)[None, :]
    channels = (40 + 200 * rows + 0 * columns, 30 + 180 * columns + 0 * rows, 220 - 150 * rows * columns)
    return np.stack(channels, axis=2).astype(np.uint8)


def png_bytes(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 1-bit PNG with this header and these chunks, which need not agree with it."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    """The bytes of `image` in a format of Pillow's."""
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def write_bad_images(folder: Path) -> dict[str, Path]:
    """Inputs that must be refused, by name; "missing" is never written and "folder" is a directory."""
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = encoded(Image.fromarray(picture(200, 300)), "JPEG", quality=95)
    png = encoded(Image.fromarray(picture(200, 300)), "PNG")
    text = b"Comment\0\0" + zlib.compress(bytes(8_000_000))
    bomb_rows = zlib.compress(bytes((1 + 1500) * 12_000), 9)
    contents = {
        "empty.jpg": b"",
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": png[: len(png) // 2],
        "header_only.jpg": jpeg[:20],
        "text.jpg": b"This is a letter, not a photograph.\n",
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "layers.psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(100),
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "phone.heic": struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(64),
        "bomb.png": png_bytes(12_000, 12_000, (b"IDAT", bomb_rows)),
        "lying_header.png": png_bytes(2_000_000_000, 2_000_000_000, (b"IDAT", zlib.compress(b"\0\0"))),
        "text_bomb.png": png_bytes(8, 8, (b"zTXt", text), (b"IDAT", zlib.compress(bytes(16)))),
        "cut_header.gif": b"GIF89a\x10",
        "cut_header.tif": b"II*\0\x08\0\0\0\xff\xff",
    }
    paths = {"missing": folder / "missing.jpg", "folder": folder / "folder.jpg"}
    paths["folder"].mkdir(exist_ok=True)
    for name, content in contents.items():
        paths[name.replace(".", "_")] = folder / name
        (folder / name).write_bytes(content)
    return paths


def write_good_images(folder: Path) -> dict[str, Path]:
    """Inputs that must be read, by name; all show `picture()` as far as their format can."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for write in (_write_modes, _write_depths, _write_turned, _write_many_frames, _write_sizes, _write_names):
        paths.update(write(folder))
    return paths


def _write_modes(folder: Path) -> dict[str, Path]:
    shown = Image.fromarray(picture())
    grey = shown.convert("L")
    alpha = Image.fromarray(np.repeat(np.linspace(0, 255, 48).astype(np.uint8)[:, None], 64, axis=1))
    images = {
        "rgb.png": shown,
        "gray.png": grey,
        "gray_alpha.png": Image.merge("LA", (grey, alpha)),
        "rgba.png": Image.merge("RGBA", (*shown.split(), alpha)),
        "palette.png": shown.quantize(64),
        "bilevel.png": grey.convert("1"),
        "rgb.bmp": shown,
        "rgb.ppm": shown,
        "rgb.webp": shown,
    }
    for name, image in images.items():
        image.save(folder / name)
    shown.quantize(16).save(folder / "palette_transparent.png", transparency=0)
    shown.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    shown.save(folder / "rgb.jpg", quality=95)
    shown.save(folder / "png_named.jpg", format="PNG")
    names = [*images, "palette_transparent.png", "cmyk.jpg", "rgb.jpg", "png_named.jpg"]
    return {name.replace(".", "_"): folder / name for name in names}


def _write_depths(folder: Path) -> dict[str, Path]:
    """Grey pictures of more than 8 bits, all equal to the red channel of `picture()`."""
    red = picture()[:, :, 0]
    wide = Image.fromarray(red.astype(np.uint16) * 257)
    wide.save(folder / "gray16.png")
    wide.save(folder / "gray16.tif")
    Image.fromarray(red.astype(np.float32) / 255).save(folder / "float.tif")
    Image.fromarray(red.astype(np.int32) * 257).save(folder / "int32.tif")
    names = ("gray16.png", "gray16.tif", "float.tif", "int32.tif")
    return {name.replace(".", "_"): folder / name for name in names}


def _write_turned(folder: Path) -> dict[str, Path]:
    """`picture()` as a viewer shows it, stored in each of the eight EXIF orientations."""
    paths = {}
    for orientation, stored_as in STORED_AS.items():
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        path = folder / f"exif_{orientation}.jpg"
        stored = Image.fromarray(np.ascontiguousarray(stored_as(picture())))
        stored.save(path, quality=95, subsampling=0, exif=exif)
        paths[path.stem] = path
    return paths


def _write_many_frames(folder: Path) -> dict[str, Path]:
    """`picture()` first, then black frames."""
    frames = [Image.fromarray(picture()), Image.new("RGB", (64, 48)), Image.new("RGB", (64, 48), (9, 9, 9))]
    names = ("animated.gif", "animated.png", "animated.webp", "pages.tif", "stereo.mpo")
    for name in names:
        others = frames[1:2] if name == "stereo.mpo" else frames[1:]  # a pair, from a camera with two lenses
        frames[0].save(folder / name, save_all=True, append_images=others)
    return {name.replace(".", "_"): folder / name for name in names}


def _write_sizes(folder: Path) -> dict[str, Path]:
    """Odd sizes, named (H)x(W)."""
    paths = {}
    for height, width in ((1, 1), (1, 4000), (4000, 1)):
        path = folder / f"{height}x{width}.png"
        Image.fromarray(picture(height, width)).save(path)
        paths[f"size_{height}x{width}"] = path
    return paths


def _write_names(folder: Path) -> dict[str, Path]:
    """Names that are awkward for shells, globs, NAME=PATH options and terminals."""
    names = {
        "name_spaces": " two  spaces .png",
        "name_equals": "a=b,c=d.png",
        "name_brackets": "shot [1] (*)?.png",
        "name_unicode": "Übung-猫-naïve.png",
        "name_dash": "-out.png",
        "name_percent": "100%s{0}.png",
    }
    for name in names.values():
        Image.fromarray(picture()).save(folder / name)
    return {key: folder / name for key, name in names.items()}
