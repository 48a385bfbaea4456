"""Images in and maps out: all that reads, orients, resizes, normalises, and maps back to native size."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, DataError, ShapeError, describe
from fewshot_seg.imaging.decode import MAX_PIXELS, read_image
from fewshot_seg.imaging.find import IMAGE_SUFFIXES, find_images
from fewshot_seg.imaging.inputs import ImageInput, is_one
from fewshot_seg.imaging.masks import read_mask

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageInput",
    "Preprocessing",
    "describe",
    "find_images",
    "is_one",
    "load_batch",
    "preprocess",
    "read_image",
    "read_mask",
    "resize_map",
]

INTERPOLATIONS: Final = ("bilinear", "bicubic")
_SIZES: Final = (32, 4096)
# A JPEG decoded at a reduced size is still at least this many times as large as what is needed of it, so that
# the resize after it, not the JPEG decoder, decides the result.
DRAFT_MARGIN: Final = 2


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input. Part of every checkpoint, for a network sees as it was trained.

    Every image is stretched to one shape, whatever its own, a square unless told otherwise: so any images fit in one
    batch, and a result never depends on the others in it.

    Attributes:
        size: height of the input, pixels, 32 to 4096.
        width: its width, likewise; None makes it a square.
        mean, std: per channel RGB, on the scale 0..1 (ImageNet's by default).
        interpolation: "bilinear" or "bicubic", antialiased.

    Raises:
        ConfigError: a value out of its range.
    """

    size: int = 384
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    width: int | None = None

    def __post_init__(self) -> None:
        low, high = _SIZES
        if self.width == self.size:  # one way to say a thing, so that equal preprocessings are equal
            object.__setattr__(self, "width", None)
        for name, side in (("size", self.size), ("width", self.size if self.width is None else self.width)):
            if type(side) is not int or not low <= side <= high:
                raise ConfigError(f"preprocessing {name} {side!r}: must be a whole number, {low} to {high}")
        if self.interpolation not in INTERPOLATIONS:
            choices = " or ".join(INTERPOLATIONS)
            raise ConfigError(f"preprocessing interpolation {self.interpolation!r}: must be {choices}")
        object.__setattr__(self, "mean", _channels("mean", self.mean))
        object.__setattr__(self, "std", _channels("std", self.std))
        if min(self.std) <= 0:
            raise ConfigError(f"preprocessing std {self.std}: must be above 0")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return self.size, self.size if self.width is None else self.width

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; `from_dict` takes them back."""
        values = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        if self.width is None:  # left out, so that older versions read what they can
            del values["width"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """From plain values; what is left out keeps its default. ConfigError for a key that there is not."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"preprocessing {values!r}: must be a mapping of names to values")
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
                raise ConfigError(f"preprocessing has no key {key!r}; did you mean {nearest!r}?")
        return cls(**values)


class _Prepares(Protocol):
    """What `load_batch` needs of an embedder."""

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def device(self) -> torch.device: ...


def preprocess(image: NDArray[np.uint8], preprocessing: Preprocessing) -> torch.Tensor:
    """An image as the network takes it: stretched to its shape with antialiasing, then normalised.

    Args:
        image: (H, W, 3) uint8 RGB, any size from 1x1.
        preprocessing: size, normalisation and interpolation.

    Returns:
        (3, H, W) float32 on the CPU, contiguous, of `preprocessing.shape`: (value / 255 - mean) / std.

    Raises:
        ShapeError, ImageError: an array of another shape or type.
    """
    array = read_image(image)  # (H, W, 3); torch warns about read-only memory
    pixels = torch.from_numpy(array if array.flags.writeable else array.copy())
    pixels = pixels.permute(2, 0, 1)[None]  # (1, 3, H, W), channels last in memory
    shape = preprocessing.shape
    if pixels.shape[2:] != shape:
        # On bytes: several times as fast as on floats, no copy of a large image, within 2 of Pillow's.
        mode = preprocessing.interpolation
        pixels = torch.nn.functional.interpolate(pixels, shape, mode=mode, align_corners=False, antialias=True)
    mean = torch.tensor(preprocessing.mean)[:, None, None] * 255
    std = torch.tensor(preprocessing.std)[:, None, None] * 255
    return ((pixels[0].float() - mean) / std).contiguous()


def load_batch(sources: Sequence[ImageInput], embedder: _Prepares) -> torch.Tensor:
    """Images as a batch that the embedder takes. Large JPEGs are decoded at a reduced size, which is faster.

    Args:
        sources: images in any form, as `ImageInput` says; one alone need not be in a list.
        embedder: anything with `preprocessing` and `device`.

    Returns:
        (B, 3, H, W) float32 on the embedder's device, (H, W) being `preprocessing.shape`.

    Raises:
        ImageError, ShapeError: an input that is no readable image. DataError: no inputs.
    """
    if is_one(sources):
        sources = [sources]  # type: ignore[list-item]
    if len(sources) == 0:
        raise DataError("no images to load; give at least one")
    wanted = embedder.preprocessing
    min_side = DRAFT_MARGIN * max(wanted.shape)
    inputs = [preprocess(read_image(source, min_side=min_side), wanted) for source in sources]
    return torch.stack(inputs).to(embedder.device)


def resize_map(map_: NDArray[np.floating[Any]], size: tuple[int, int]) -> NDArray[np.float32]:
    """A small map brought to an image's size: bilinear, with half-pixel centres, edges continued.

    It undoes the stretch of `preprocess`: position (i, j) of an (h, w) map covers the same part of the image
    as that cell of an h x w grid laid over it.

    Args:
        map_: (h, w) float.
        size: (H, W) of the image.

    Returns:
        (H, W) float32, within the range of the map's values.

    Raises:
        ShapeError: not two dimensions, or a side of 0.
    """
    if map_.ndim != 2 or map_.size == 0 or min(size) < 1:
        raise ShapeError(f"map of shape {map_.shape} to size {tuple(size)}: neither may be empty")
    small = np.ascontiguousarray(map_, dtype=np.float32)
    large = cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, dtype=np.float32)


def _channels(name: str, values: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"preprocessing {name} {values!r}: must be three numbers") from error
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise ConfigError(f"preprocessing {name} {values!r}: must be finite")
    return red, green, blue
