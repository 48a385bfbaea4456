"""Images and label masks side by side: images/ID.jpg, masks/ID.png and classes.json."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.segmentation import Files, SegmentationDataset, listing
from fewshot_seg.errors import DataError, describe
from fewshot_seg.files import read_user_json
from fewshot_seg.imaging.find import IMAGE_SUFFIXES

_HINT: Final = "the root must hold images, masks and classes.json"
_FORM: Final = '["cat", "dog", ...] or {"cat": 1, "dog": 2, ...}'


class ImagesAndMasks(SegmentationDataset):
    """A folder with images/ID.SUFFIX, masks/ID.SUFFIX (of any image format) and classes.json.

    classes.json is a list of names, of which the first is class 1, or an object {name: number} with the numbers
    1, 2, ... and, if it likes, 0 for the background. Masks hold the numbers, 255 (of 16 bits: 65535) is void; with one
    class alone any mask will do (`imaging.masks.read_labels`).
    """

    name = "masks"

    def _lay_out(self) -> None:
        images, masks = self.root / "images", self.root / "masks"
        self._images = Files(listing(images, IMAGE_SUFFIXES, _HINT), "images", images)
        self._masks = Files(listing(masks, IMAGE_SUFFIXES, _HINT), "masks", masks, ".png")
        self.class_names = _read_names(self.root / "classes.json")


def _read_names(path: Path) -> tuple[str, ...]:
    values = read_user_json(path, _HINT, f"write {_FORM}")
    if isinstance(values, list):
        names = values
    elif isinstance(values, dict) and all(type(number) is int for number in values.values()):
        ordered = sorted((number, name) for name, number in values.items() if number != 0)
        if [number for number, _ in ordered] != [*range(1, len(ordered) + 1)]:
            raise DataError(f"{describe(path)}: numbers must go from 1 up without gaps, each once; write {_FORM}")
        names = [name for _, name in ordered]
    else:
        names = []
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise DataError(f"{describe(path)}: class names must be there, be text and differ; write {_FORM}")
    return tuple(names)
