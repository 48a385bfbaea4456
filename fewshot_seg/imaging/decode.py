"""Reading one image: an (H, W, 3) uint8 RGB array as a viewer shows it, or an error that says why not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import numpy as np
import PIL.ExifTags
import PIL.Image
from numpy.typing import NDArray

from fewshot_seg.errors import FewShotError, ImageError, ShapeError, describe
from fewshot_seg.imaging.inputs import ImageInput, as_array, binary, one_line

MAX_PIXELS: Final = 100_000_000
"""Width times height above which a file is refused before it is decoded (a decompression bomb)."""

# Only formats that Pillow decodes itself: EPS would start Ghostscript, and TGA has no signature to know.
# HEIF works where somebody has registered a Pillow plugin for it.
FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "HEIF")

_TURNS: Final = dict(
    enumerate("FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_270 TRANSVERSE ROTATE_90".split(), start=2)
)
"""EXIF's orientations, by the names of `PIL.Image.Transpose`."""
_SIXTEEN_BIT: Final = 65535


def read_image(source: ImageInput, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> NDArray[np.uint8]:
    """An image as a viewer shows it.

    EXIF orientation is applied; of an animation or a multi-page file the first frame counts; transparency is
    laid over white; grey becomes RGB. Colour profiles are not applied. Grey of more than 8 bits: integers in
    0..65535 are divided by 257; floats all in 0..1, 0..255 or 0..65535 are taken as fractions, 8-bit or
    16-bit values; anything else (heights, temperatures) is stretched from its smallest to its largest value.

    Args:
        source: a path, bytes, a stream, a PIL image, an array or a tensor, as `ImageInput` says.
        max_pixels: a larger image is refused from its header, before it is decoded.
        min_side: where only a small version is needed, a JPEG may come out reduced by 2, 4 or 8, neither side
            below this (several times as fast, and less memory). Other sources ignore it.

    Returns:
        (H, W, 3) uint8 RGB, contiguous. An array given in this form is returned as it is, not copied.

    Raises:
        ImageError: the file is missing, unreadable, damaged, cut short, too large, or no image; or an array
            is not uint8. ShapeError: an array of another shape.
    """
    if isinstance(array := as_array(source), np.ndarray):
        return _check_array(array, describe(source))
    with opened(source, max_pixels) as image:
        if min_side is not None and not isinstance(source, PIL.Image.Image):
            image.draft(None, (min_side, min_side))
        return np.array(to_rgb(oriented(image)))


@contextmanager
def opened(source: ImageInput, max_pixels: int) -> Iterator[PIL.Image.Image]:
    """The undecoded PIL image of a source; whatever goes wrong with it in the block becomes an ImageError."""
    name = describe(source)
    try:
        if isinstance(source, PIL.Image.Image):
            yield _within(source, name, max_pixels)
        else:
            with binary(source, name) as file, _identify(file, name) as image:
                yield _within(image, name, max_pixels)
    except FewShotError:
        raise
    except (MemoryError, PIL.Image.DecompressionBombError) as error:  # a few of Pillow's decoders have their own limit
        raise ImageError(f"{name}: too large to decode ({one_line(error)}); make it smaller") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        reason = f"cannot be decoded ({one_line(error)})"
        raise ImageError(f"{name}: {reason}; it may be damaged or cut short: get or save it again") from error


def oriented(image: PIL.Image.Image) -> PIL.Image.Image:
    """The decoded image, turned as its EXIF orientation says."""
    image.load()  # first: a PNG may hold its EXIF behind its pixels, and Pillow turns a TIFF as it loads it
    try:
        turn = _TURNS.get(int(image.getexif().get(PIL.ExifTags.Base.Orientation, 1)))
    except Exception:  # noqa: BLE001 - broken EXIF beside good pixels: shown unturned, as viewers do
        turn = None
    return image if turn is None else image.transpose(PIL.Image.Transpose[turn])


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Mode RGB from any mode; transparency over white."""
    if image.mode in ("F", "I") or image.mode.startswith("I;"):
        image = PIL.Image.fromarray(_to_eight_bits(np.asarray(image), is_float=image.mode == "F"))
    if image.mode in ("La", "RGBa"):  # premultiplied: Pillow converts these to nothing but their plain forms
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_eight_bits(values: NDArray[Any], *, is_float: bool) -> NDArray[np.uint8]:
    """Grey of more than 8 bits to 0..255 as `read_image` says; Pillow's own conversion clips it instead."""
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("it holds NaN or infinite values")
    if not is_float and low >= 0 and high <= _SIXTEEN_BIT:
        table: NDArray[np.uint8] = np.rint(np.arange(_SIXTEEN_BIT + 1) / 257).astype(np.uint8)
        return np.asarray(table[values])
    known = next((top for top in (1, 255, _SIXTEEN_BIT) if is_float and high <= top), None)
    if low < 0 or known is None:
        span = (high - low) or 1.0
    else:
        low, span = 0.0, float(known)
    return np.rint((values.astype(np.float64) - low) * 255 / span).astype(np.uint8)


def _check_array(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        hint = "; scale it to 0..255 without NaN and use .astype(numpy.uint8)"
        raise ImageError(f"{name}: its type is {array.dtype}, an image must be uint8 (0 to 255){hint}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ShapeError(f"{name}: an image array must be (H, W, 3) RGB or (H, W) grey; rearrange its axes")
    if array.size == 0:
        raise ShapeError(f"{name}: it has no pixels; give an image of at least 1x1")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array, dtype=np.uint8)


def _identify(file: IO[bytes], name: str) -> PIL.Image.Image:
    """The lazy image of the file by the first of FORMATS that knows its signature.

    PIL.Image.open would do the same, but it compares the size with a global limit, warns, and cannot be told
    another limit without changing it for the whole process; `opened` compares the size with ours.
    """
    PIL.Image.init()
    prefix = file.read(16)
    failure: SyntaxError | None = None
    for format_name in FORMATS:
        factory, accept = PIL.Image.OPEN.get(format_name, (None, None))
        accepted = accept(prefix) if factory is not None and accept is not None else False
        if factory is not None and accepted and not isinstance(accepted, str):
            file.seek(0)
            try:
                return factory(file, "")
            except SyntaxError as error:  # as Pillow does: AVIF and HEIF share a signature
                failure = error
    if prefix[4:8] == b"ftyp" and prefix[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        raise ImageError(f"{name}: HEIC photographs cannot be read; save it as JPEG or PNG")
    if failure is not None:
        raise failure
    raise ImageError(f"{name}: not an image in a format that can be read; save it as JPEG, PNG, GIF, BMP, TIFF or WebP")


def _within(image: PIL.Image.Image, name: str, max_pixels: int) -> PIL.Image.Image:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: it has no pixels ({width}x{height}); give an image of at least 1x1")
    if width * height > max_pixels:
        size = f"{width}x{height} is more than {max_pixels / 1e6:g} million pixels (a decompression bomb?)"
        raise ImageError(f"{name}: {size}; make it smaller")
    return image
