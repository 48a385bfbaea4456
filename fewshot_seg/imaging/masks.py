"""Reading masks: files and arrays of many kinds to (H, W) bool, or to numbers of classes. Nothing else reads masks."""

from __future__ import annotations

import os
from typing import Any, Final, NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, ImageError, ShapeError, describe
from fewshot_seg.imaging.decode import MAX_PIXELS, opened, oriented
from fewshot_seg.imaging.inputs import ImageInput, as_array

VOID: Final = -1
"""The label of pixels that count neither for nor against: object borders, what annotators left open. Files
have the largest value of their kind there, 255 or 65535."""

_HALF: Final = 128
_WHITE: Final = 250
_SAME_SHAPE: Final = 0.02
_FEW: Final = 16
"""So many grey values are objects by their numbers; more are a soft edge."""


class _Pixels(NamedTuple):
    """What a file or array holds.

    Attributes:
        values: (H, W) numbers, or (H, W, 3) colours.
        shown: (H, W) bool, what is not wholly transparent; None if everything is shown.
        lossy: whether compression may have changed values: a JPEG.
        indices: whether the values are a palette's indices.
    """

    values: NDArray[Any]
    shown: NDArray[np.bool_] | None = None
    lossy: bool = False
    indices: bool = False


def read_mask(
    source: ImageInput,
    size: tuple[int, int] | None = None,
    *,
    void: int | None = None,
    soft: bool = False,
    image: object = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.bool_]:
    """The foreground of a mask, in any format that `read_image` reads.

    What counts as foreground, by the first of these that fits:

    - with transparency, where any pixel is wholly transparent: every pixel that is not (a cut-out);
    - a JPEG: values from 128 up, since its compression leaves small values around an edge; from half of the
      largest up where that is below 128;
    - a palette image (PASCAL VOC): every index but 0; where an image optimiser has put white at index 0 of a
      black and white palette, the colour decides;
    - with `soft`, grey of 8 bits that holds white or more than 16 values: from 128 up;
    - a grey, 1-bit, 16-bit or float image, or an (H, W) array of any number type: every value but 0;
    - RGB: every pixel that is not black.

    EXIF orientation is applied where the file has one, as `read_image` does.

    Args:
        source: as `ImageInput` says; an array is (H, W), (H, W, 3) or (H, W, 4), a tensor's channels come first.
        size: (H, W) of the image that the mask belongs to, as `read_image` gives it.
        void: a value that is neither (255 in PASCAL VOC): left out of the foreground. Ignored in colour.
        soft: whether grey says how much of a pixel is the object's, as in white on black with soft edges.
        image: the image that the mask belongs to, for the message about another size.
        max_pixels: as in `read_image`.

    Returns:
        (H, W) bool, with at least one True.

    Raises:
        ImageError: no readable image. ShapeError: not the size of its image. DataError: no foreground.
    """
    array = as_array(source)
    found = _of_array(array) if isinstance(array, np.ndarray) else _of_file(source, max_pixels)
    mask = _foreground(found, void, soft)
    name = describe(source)
    if size is not None and mask.shape != tuple(size):
        raise ShapeError(size_message(name, mask.shape, tuple(size), image))
    if not mask.any():
        raise DataError(f"{name}: the mask has no foreground; mark the object with a value other than 0")
    return mask


def read_labels(path: str | os.PathLike[str], classes: int) -> NDArray[np.int32]:
    """The labels of a mask file: a palette image's indices, or a grey or 1-bit image's values.

    Grey may be saved as RGB. With one class only, what holds no 1 (0 and 255, colour, a JPEG, a cut-out) is read as
    `read_mask` reads it: the foreground is class 1.

    Args:
        path: the file, of 8 bits, where 255 is void, or of 16, where 65535 is.
        classes: labels above this are refused.

    Returns:
        (H, W) int32, 0..classes or VOID.

    Raises:
        ImageError: no readable image. DataError: colours, a JPEG or fractions with several classes, or a label that
            is no class.
    """
    found = _of_file(path, MAX_PIXELS)
    values, name = found.values, describe(path)
    if values.ndim == 3 and (values == values[:, :, :1]).all():
        values = values[:, :, 0]
    void = 255 if values.dtype.itemsize == 1 else 65535
    numbers = values.ndim == 2 and values.dtype.kind != "f" and not found.lossy
    binary = not numbers or not (found.indices or (values == 1).any() or np.isin(values, (0, void), invert=True).any())
    if classes == 1 and binary:
        return _foreground(found, None, soft=True).astype(np.int32)
    if not numbers:
        kind = "a JPEG" if found.lossy else "in colour" if values.ndim == 3 else "of fractions"
        raise DataError(
            f"{name}: is {kind}; a label mask must be a palette or grey image that keeps whole numbers: PNG"
        )
    return as_labels(values, classes, path, void)


def as_labels(values: NDArray[Any], classes: int, where: str | os.PathLike[str], void: int) -> NDArray[np.int32]:
    """(H, W) values of any integer type to int32 labels, `void` to VOID. DataError: a label that is no class."""
    found = np.unique(values)
    unknown = found[((found < 0) | (found > classes)) & (found != void)]
    if unknown.size:
        listed = ", ".join(map(str, unknown[:3]))
        raise DataError(f"{describe(where)}: label {listed} is no class; labels are 0 to {classes} and {void}")
    labels = values.astype(np.int32)
    labels[values == void] = VOID
    return labels


def _of_file(source: Any, max_pixels: int) -> _Pixels:
    with opened(source, max_pixels) as image:
        lossy = image.format in ("JPEG", "MPO")
        turned = oriented(image)
        shown = np.array(turned.convert("RGBA").getchannel("A")) != 0 if turned.has_transparency_data else None
        if shown is not None and shown.all():
            shown = None
        if indices := turned.mode == "PA" or (turned.mode == "P" and not _white_is_first(turned)):
            values = np.array(turned.getchannel("P") if turned.mode == "PA" else turned)
        elif turned.mode in ("1", "L", "F", "I") or turned.mode.startswith("I;"):
            values = np.array(turned, np.uint8 if turned.mode == "1" else None)
        else:
            values = np.array(turned.convert("RGB"))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError("it holds NaN or infinite values")
        return _Pixels(values, shown, lossy, indices)


def _white_is_first(image: PIL.Image.Image) -> bool:
    """Whether a palette image is black and white with its white at index 0 and its black at 1."""
    used = [index for index, count in enumerate(image.histogram()) if count]
    colours = (image.getpalette("RGB") or [])[:6]
    return used == [0, 1] and colours == [255, 255, 255, 0, 0, 0]


def _of_array(array: NDArray[Any]) -> _Pixels:
    name = describe(array)
    if array.dtype.kind not in "buif":
        raise ImageError(f"{name}: its type is {array.dtype}; a mask must hold booleans or numbers")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ShapeError(f"{name}: a mask array must be (H, W), or (H, W, 3 or 4) in colour")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError(f"{name}: it holds NaN or infinite values; set them to 0 or 1")
    if array.ndim == 3 and array.shape[2] == 4:
        shown = array[:, :, 3] != 0
        return _Pixels(array[:, :, :3], None if shown.all() else shown)
    return _Pixels(array)


def _foreground(found: _Pixels, void: int | None, soft: bool) -> NDArray[np.bool_]:
    """(H, W) bool, see `read_mask`."""
    values = found.values
    if values.ndim == 3:
        soft = soft and bool((values == values[:, :, :1]).all())
        values, void = values.max(axis=2), None
    if found.shown is not None:
        mask = found.shown
    elif found.lossy:
        mask = values >= min(_HALF, max(int(values.max()) // 2, 1))
    elif soft and not found.indices and values.dtype == np.uint8 and _has_soft_edges(values):
        mask = values >= _HALF
    else:
        mask = values != 0
    return np.asarray(mask if void is None else mask & (values != void))


def _has_soft_edges(values: NDArray[np.uint8]) -> bool:
    return bool(values.max() >= _WHITE or np.count_nonzero(np.bincount(values.ravel())) > _FEW)


def brought_to(labels: NDArray[np.int32], size: tuple[int, int], where: str | os.PathLike[str]) -> NDArray[np.int32]:
    """(H, W) labels at the size of their image, by nearest neighbour.

    Raises:
        DataError: height to width isn't the image's within 2 %.
    """
    if labels.shape == size:
        return labels
    sides = len(labels) * size[1], labels.shape[1] * size[0]
    if abs(sides[0] - sides[1]) > _SAME_SHAPE * max(sides):
        raise DataError(size_message(describe(where), labels.shape, size, None))
    rows, columns = ((np.arange(n) * 2 + 1) * side // (2 * n) for n, side in zip(size, labels.shape, strict=True))
    return labels[np.ix_(rows, columns)]


def size_message(name: str, got: tuple[int, ...], wanted: tuple[int, ...], image: object, what: str = "mask") -> str:
    """Why a mask of another size than its image can't be used, and what to do."""
    owner = "its image" if image is None else describe(image)
    hint = f"save the {what} at the size of the image"
    if got == wanted[::-1]:
        hint = f"the image may be turned by its EXIF orientation: save the {what} as a viewer shows the image"
    sizes = f"{got[1]}x{got[0]} (width x height) but {owner} is {wanted[1]}x{wanted[0]}"
    return f"{name}: the {what} is {sizes}; {hint}"
