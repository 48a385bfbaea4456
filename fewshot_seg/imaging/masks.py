"""Reading one mask: files and arrays of many kinds to (H, W) bool."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, ImageError, ShapeError, describe
from fewshot_seg.imaging.decode import MAX_PIXELS, ImageInput, opened, oriented

_JPEG_THRESHOLD: Final = 128


def read_mask(
    source: ImageInput | NDArray[Any],
    size: tuple[int, int] | None = None,
    *,
    void: int | None = None,
    image: object = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.bool_]:
    """The foreground of a mask.

    What counts as foreground:

    - a palette image (PASCAL VOC): every index but 0; where an image optimiser has put white at index 0 of a
      black and white palette, the colour decides;
    - a grey, 1-bit, 16-bit or float image, or an (H, W) array of any number type: every value but 0;
    - RGB: every pixel that is not black;
    - with an alpha channel: where any pixel is wholly transparent, every pixel that is not (a cut-out), else
      as without alpha;
    - a JPEG: values from 128 up, since its compression leaves small values around an edge.

    EXIF orientation is applied where the file has one, as `read_image` does.

    Args:
        source: a path, a PIL image, or an (H, W) or (H, W, 3 or 4) array.
        size: (H, W) of the image that the mask belongs to, as `read_image` gives it.
        void: a value that is neither (255 in PASCAL VOC): left out of the foreground. Ignored in colour.
        image: the image that the mask belongs to, for the message about another size.
        max_pixels: as in `read_image`.

    Returns:
        (H, W) bool, with at least one True.

    Raises:
        ImageError: no readable image. ShapeError: not the size of its image. DataError: no foreground.
    """
    if isinstance(source, np.ndarray):
        values, lossy = _check_values(source), False
    else:
        values, lossy = _values_of_file(source, max_pixels)
    mask = _foreground(values, lossy=lossy, void=void)
    name = describe(source)
    if size is not None and mask.shape != tuple(size):
        raise ShapeError(size_message(name, mask.shape, tuple(size), image))
    if not mask.any():
        raise DataError(f"{name}: the mask has no foreground; mark the object with a value other than 0")
    return mask


def _values_of_file(source: Any, max_pixels: int) -> tuple[NDArray[Any], bool]:
    """Label values (H, W), or colours (H, W, 3 or 4); and whether the file is a JPEG."""
    with opened(source, max_pixels) as image:
        lossy = image.format in ("JPEG", "MPO")
        turned = oriented(image)
        if turned.mode == "P" and not _white_is_first(turned):
            return np.array(turned), lossy
        if turned.mode in ("1", "L", "F", "I") or turned.mode.startswith("I;"):
            values = np.array(turned)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError("it holds NaN or infinite values")
            return values, lossy
        if turned.mode == "PA":
            return np.array(turned.getchannel("P")), lossy
        return np.array(turned.convert("RGBA" if turned.has_transparency_data else "RGB")), lossy


def _white_is_first(image: PIL.Image.Image) -> bool:
    """Whether a palette image is black and white with its white at index 0 and its black at 1."""
    used = [index for index, count in enumerate(image.histogram()) if count]
    colours = (image.getpalette("RGB") or [])[:6]
    return used == [0, 1] and colours == [255, 255, 255, 0, 0, 0]


def _check_values(array: NDArray[Any]) -> NDArray[Any]:
    name = describe(array)
    if array.dtype.kind not in "buif":
        raise ImageError(f"{name}: its type is {array.dtype}; a mask must hold booleans or numbers")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ShapeError(f"{name}: a mask array must be (H, W), or (H, W, 3 or 4) in colour")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError(f"{name}: it holds NaN or infinite values; set them to 0 or 1")
    return array


def _foreground(values: NDArray[Any], *, lossy: bool, void: int | None) -> NDArray[np.bool_]:
    """(H, W) labels or (H, W, 3 or 4) colours to (H, W) bool."""
    if values.ndim == 3:
        if values.shape[2] == 4 and not values[:, :, 3].all():
            return np.asarray(values[:, :, 3] != 0)
        values = values[:, :, :3].max(axis=2)
        void = None
    mask = values >= _JPEG_THRESHOLD if lossy else values != 0
    return np.asarray(mask if void is None else mask & (values != void))


def size_message(name: str, got: tuple[int, ...], wanted: tuple[int, ...], image: object, what: str = "mask") -> str:
    """Why a mask of another size than its image can't be used, and what to do."""
    owner = "its image" if image is None else describe(image)
    hint = f"save the {what} at the size of the image"
    if got == wanted[::-1]:
        hint = f"the image may be turned by its EXIF orientation: save the {what} as a viewer shows the image"
    sizes = f"{got[1]}x{got[0]} (width x height) but {owner} is {wanted[1]}x{wanted[0]}"
    return f"{name}: the {what} is {sizes}; {hint}"
