"""Reading one scribble: a picture of strokes over an image to what they mark as object and as background."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, ImageError, ShapeError, describe
from fewshot_seg.imaging.decode import MAX_PIXELS, opened, oriented
from fewshot_seg.imaging.inputs import ImageInput, as_array
from fewshot_seg.imaging.masks import size_message

_TOLERANCE: Final = 60  # of a pure colour, for each channel: JPEG and smoothed strokes stay within it
_GREEN, _RED, _WHITE, _BLACK = (0, 255, 0), (255, 0, 0), (255, 255, 255), (0, 0, 0)
_LABELS: Final = {0, 1, 2, 255}
_PASCAL: Final = [0, 0, 0, 128, 0, 0, 0, 128, 0]  # how PASCAL VOC's palette begins, and DAVIS's


def read_scribble(
    source: ImageInput,
    size: tuple[int, int] | None = None,
    *,
    image: object = None,
    max_pixels: int = MAX_PIXELS,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What strokes mark as object, and what as background. Whatever is not marked is unknown.

    - In colour: green is object, red is background; on a transparent or black ground white is object too, on a
      transparent or white ground black is background too; all else, and what is transparent, is unmarked. So
      strokes may be drawn on a blank sheet, on a transparent layer, or on the photo itself.
    - In grey: white is object unless the ground is white, black is background unless the ground is black.
      The ground is the colour of more than half of the picture.
    - Labels: a grey image or (H, W) array of nothing but 0, 1, 2 and 255 that holds a 1 or a 2, or a palette
      image with PASCAL VOC's colours: 1 is object, 2 is background, 0 and 255 are unmarked.
    - An (H, W) bool array: True is object.

    Pure colours are meant; each channel may be off by 60 of 255.

    Args:
        source: as `ImageInput` says; an array is (H, W), (H, W, 3) or (H, W, 4), a tensor's channels come first.
        size: (H, W) of the image that it belongs to, as `read_image` gives it.
        image: that image, for messages.
        max_pixels: as in `read_image`.

    Returns:
        Object and background, each (H, W) bool; together at least one True.

    Raises:
        ImageError: no readable image. ShapeError: not the size of its image. DataError: no stroke.
    """
    name = describe(source)
    if isinstance(array := as_array(source), np.ndarray):
        values, labels = _checked(array), array.dtype.kind == "b"
    else:
        values, labels = _values_of_file(source, max_pixels)
    if size is not None and values.shape[:2] != tuple(size):
        raise ShapeError(size_message(name, values.shape[:2], tuple(size), image, what="scribble"))
    if values.ndim == 2 and not labels:
        used = set(np.unique(values).tolist())
        labels = used <= _LABELS and bool(used & {1, 2})
    foreground, background = (np.asarray(values == 1), np.asarray(values == 2)) if labels else _by_colour(values)
    if not (foreground.any() or background.any()):
        raise DataError(f"{name}: the scribble has no stroke; mark the object in green (or 1), the rest in red (or 2)")
    return foreground, background


def _values_of_file(source: Any, max_pixels: int) -> tuple[NDArray[Any], bool]:
    """Grey values or labels (H,W), or colours (H,W,3 or 4) uint8; and whether they are labels for certain."""
    with opened(source, max_pixels) as image:
        turned = oriented(image)
        if turned.mode == "P" and (turned.getpalette("RGB") or [])[:9] == _PASCAL:
            return np.array(turned), True
        if turned.mode in ("1", "L", "I") or turned.mode.startswith("I;"):
            values = np.array(turned)
            return (values.astype(np.uint8) * 255 if turned.mode == "1" else values), False
        return np.array(turned.convert("RGBA" if turned.has_transparency_data else "RGB")), False


def _checked(array: NDArray[Any]) -> NDArray[Any]:
    name = describe(array)
    if array.dtype.kind not in "bui":
        raise ImageError(f"{name}: its type is {array.dtype}; a scribble must hold booleans or whole numbers")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ShapeError(f"{name}: a scribble array must be (H, W), or (H, W, 3 or 4) in colour")
    return array


def _by_colour(values: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Grey (H,W) or colours (H,W,3 or 4) to strokes."""
    colours = values[:, :, None] if values.ndim == 2 else values[:, :, :3]
    seen = np.ones(values.shape[:2], bool) if values.shape[2:] != (4,) else np.asarray(values[:, :, 3] >= 128)
    white, black = _near(colours, _WHITE) & seen, _near(colours, _BLACK) & seen
    on_layer = not seen.all()
    on_white, on_black = (2 * canvas.sum() > canvas.size for canvas in (white, black))
    grey = bool((colours == colours[:, :, :1]).all())
    foreground, background = np.zeros_like(seen), np.zeros_like(seen)
    if not grey:
        foreground |= _near(colours, _GREEN) & seen
        background |= _near(colours, _RED) & seen
    if on_layer or on_black or (grey and not on_white):
        foreground |= white
    if on_layer or on_white or (grey and not on_black):
        background |= black
    return foreground, background


def _near(colours: NDArray[Any], pure: tuple[int, int, int]) -> NDArray[np.bool_]:
    wanted = np.asarray(pure[: colours.shape[2]], np.int64)
    return np.asarray((np.abs(colours.astype(np.int64) - wanted) <= _TOLERANCE).all(2))
