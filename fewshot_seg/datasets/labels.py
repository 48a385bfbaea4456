"""Reading one label mask, with the care and the messages of `decode`."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets import VOID
from fewshot_seg.decode import MAX_PIXELS, describe, opened, oriented
from fewshot_seg.errors import DataError


def read_labels(path: str | os.PathLike[str], classes: int) -> NDArray[np.uint8]:
    """The labels of a mask file: a palette PNG's indices, or an 8-bit grey image's values.

    Args:
        path: the file.
        classes: labels above this, but for VOID, are refused.

    Returns:
        (H, W) uint8, 0..classes or VOID.

    Raises:
        ImageError: no readable image. DataError: a colour image, or a label that is no class.
    """
    with opened(path, MAX_PIXELS) as image:
        turned = oriented(image)
        mode = turned.mode
        labels = np.array(turned) if mode in ("P", "L") else np.zeros((1, 1), np.uint8)  # (H, W)
    if mode not in ("P", "L"):
        raise DataError(f"{describe(path)}: a label mask must be a palette or 8-bit grey image, not {mode}")
    unknown = np.setdiff1d(labels, [*range(classes + 1), VOID])
    if unknown.size:
        values = ", ".join(map(str, unknown[:3]))
        raise DataError(f"{describe(path)}: label {values} is no class; labels are 0 to {classes} and {VOID}")
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
