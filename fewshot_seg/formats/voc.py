"""PASCAL VOC's segmentation: palette PNGs of classes and of things."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.formats.annotations import AnnotatedImage, Export
from fewshot_seg.formats.pictures import picture_of
from fewshot_seg.formats.polygons import TOLERANCE
from fewshot_seg.imaging.render import PALETTE

_MOST: Final = 254  # 255 is void


class VocExport(Export):
    """SegmentationClass/ and SegmentationObject/STEM.png, JPEGImages/STEM.jpg or .png, labelmap.txt, the list of ids.

    Pixels are kept one by one, holes with them; where things overlap the later covers the earlier. Nothing is void.
    """

    title = "PASCAL VOC masks"
    writes_pixels = True

    def __init__(self, out: Path, classes: Sequence[str], tolerance: float = TOLERANCE) -> None:
        super().__init__(out, classes, tolerance)
        if len(classes) > _MOST:
            raise ConfigError(f"{len(classes)} classes: VOC's PNGs hold at most {_MOST}")
        self._ids: list[str] = []

    def _add(self, image: AnnotatedImage) -> None:
        if len(image.annotations) > _MOST:
            count = f"{len(image.annotations)} things"
            raise DataError(f"{describe(image.name)}: {count}: VOC's PNGs hold at most {_MOST}; choose another format")
        kinds, things = np.zeros(image.size, np.uint8), np.zeros(image.size, np.uint8)
        for number, one in enumerate(image.annotations, start=1):
            kinds[one.mask], things[one.mask] = self.classes[one.label] + 1, number
        suffix, content = picture_of(image)
        self.write(f"JPEGImages/{image.stem}{suffix}", content)
        self.write(f"SegmentationClass/{image.stem}.png", _png(kinds))
        self.write(f"SegmentationObject/{image.stem}.png", _png(things))
        self._ids.append(image.stem)

    def _finish(self) -> None:
        colours = [("background", 0), *((name, number + 1) for name, number in self.classes.items())]
        lines = [f"{_plain(name)}:{','.join(map(str, PALETTE[number]))}::" for name, number in colours]
        self.write(
            "labelmap.txt", "\n".join(["# label:color_rgb:parts:actions", *lines, ""]).encode("utf-8", "replace")
        )
        self.write("ImageSets/Segmentation/default.txt", os.fsencode("".join(f"{one}\n" for one in self._ids)))


def _plain(name: str) -> str:
    """Without what parts the columns and lines of a label map."""
    return " ".join(name.replace(":", " ").split())


def _png(labels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())  # turns mode L into P
    image.save(stream, "PNG")
    return stream.getvalue()
