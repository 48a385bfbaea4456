"""The pixels of an annotated image, for formats that carry them: upright, so that no reader can turn them otherwise."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import PATH_TYPES, DataError, describe
from fewshot_seg.files import regular
from fewshot_seg.formats.annotations import AnnotatedImage
from fewshot_seg.imaging.decode import MAX_PIXELS, opened, oriented, read_image
from fewshot_seg.imaging.export import JPEG_QUALITY

_KEPT: Final = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}


def pixels_of(image: AnnotatedImage) -> NDArray[np.uint8]:
    """(H,W,3) uint8 RGB. DataError: no source, or one of another size than the masks. ImageError: it can't be read."""
    if image.source is None:
        raise DataError(f"{describe(image.name)}: the format needs its pixels, which aren't given")
    pixels = read_image(image.source)
    if pixels.shape[:2] != tuple(image.size):
        raise DataError(other_size(describe(image.source), pixels.shape, image.size))
    return pixels


def picture_of(image: AnnotatedImage) -> tuple[str, bytes]:
    """The image as a file, its suffix and its bytes.

    Upright JPEG and PNG files are copied byte for byte; a turned JPEG is turned and saved again (quality 90, without
    its EXIF); everything else becomes a PNG. Raises what `pixels_of` does.
    """
    from PIL import Image

    pixels, source, turned_jpeg = pixels_of(image), image.source, False
    if isinstance(source, PATH_TYPES):
        with opened(source, MAX_PIXELS) as found:
            upright = oriented(found) is found
            turned_jpeg = not upright and _KEPT.get(found.format or "") == ".jpg"
            if upright and found.format in _KEPT:
                return _KEPT[found.format], regular(source).read_bytes()
    stream = io.BytesIO()
    if turned_jpeg:
        Image.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY)
    else:
        Image.fromarray(pixels).save(stream, "PNG")
    return ".jpg" if turned_jpeg else ".png", stream.getvalue()


def other_size(name: str, got: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Why a file isn't the image that the masks belong to."""
    return f"{name}: is {got[1]}x{got[0]} (width x height), its masks {wanted[1]}x{wanted[0]}; give the same image"
