"""Reading one label mask, with the care and the messages of `decode`."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.segmentation import VOID
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.decode import MAX_PIXELS, opened, oriented

__all__ = ["as_labels", "check_size", "read_labels"]

_SIXTEEN_BITS: Final = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_labels(path: str | os.PathLike[str], classes: int) -> NDArray[np.int32]:
    """The labels of a mask file: a palette PNG's indices, or a grey image's values.

    Args:
        path: the file, of 8 bits, where 255 is void, or of 16, where 65535 is.
        classes: labels above this are refused.

    Returns:
        (H, W) int32, 0..classes or VOID.

    Raises:
        ImageError: no readable image. DataError: a colour image, or a label that is no class.
    """
    with opened(path, MAX_PIXELS) as image:
        turned = oriented(image)
        mode = turned.mode
        values = np.array(turned) if mode in ("P", "L", *_SIXTEEN_BITS) else None  # (H, W)
    if values is None:
        raise DataError(f"{describe(path)}: a label mask must be a palette or 8-bit grey image, not {mode}")
    return as_labels(values, classes, path, void=65535 if mode in _SIXTEEN_BITS else 255)


def as_labels(values: NDArray[Any], classes: int, where: str | os.PathLike[str], void: int) -> NDArray[np.int32]:
    """(H, W) values of any integer type to int32 labels, `void` to VOID.

    Raises:
        DataError: a label that is no class.
    """
    found = np.unique(values)
    unknown = found[((found < 0) | (found > classes)) & (found != void)]
    if unknown.size:
        listed = ", ".join(map(str, unknown[:3]))
        raise DataError(f"{describe(where)}: label {listed} is no class; labels are 0 to {classes} and {void}")
    labels = values.astype(np.int32)
    labels[values == void] = VOID
    return labels


def check_size(mask_path: str | os.PathLike[str], shape: tuple[int, ...], image: str | os.PathLike[str]) -> None:
    """Check that a mask of shape (H, W) is of its image's size, as a viewer shows it.

    Raises:
        DataError: it is not. ImageError: the image is unreadable.
    """
    with opened(image, MAX_PIXELS) as picture:
        width, height = oriented(picture).size
    if shape != (height, width):
        sizes = f"{shape[1]}x{shape[0]} (width x height) but its image is {width}x{height}"
        raise DataError(f"{describe(mask_path)}: the mask is {sizes}; get the pair again from the data set")
