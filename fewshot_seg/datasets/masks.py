"""Images and label masks side by side: images/ID.jpg, masks/ID.png and classes.json."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.masked import Folder, MaskedImages, interleaved, listing, only_present
from fewshot_seg.datasets.splits import read_split_list
from fewshot_seg.errors import DataError, describe
from fewshot_seg.files import regular
from fewshot_seg.imaging.find import IMAGE_SUFFIXES
from fewshot_seg.imaging.masks import read_labels

_HINT: Final = "the root must hold images, masks and classes.json"
_FORM: Final = '["cat", "dog", ...] or {"cat": 1, "dog": 2, ...}'


class ImagesAndMasks(MaskedImages):
    """A folder with images/ID.SUFFIX, masks/ID.SUFFIX (of any image format) and classes.json.

    classes.json is a list of names, of which the first is class 1, or an object {name: number} with the numbers
    1, 2, ... and, if it likes, 0 for the background. Masks hold the numbers, 255 (of 16 bits: 65535) is void; with one
    class alone any mask will do (`imaging.masks.read_labels`). Fold i of four holds out classes i + 1, i + 5, ..., as
    COCO-20i's does.

    Args:
        root: the folder.
        split_list: a list of `ID__CC` lines. None means every class of every mask, in the order of the ids.
        allow_missing: leave out entries whose image or mask isn't there.

    Raises:
        DataError: another layout, a bad list, or missing files. ImageError: without a list, an unreadable mask.
    """

    name = "masks"

    def __init__(
        self,
        root: str | os.PathLike[str],
        split_list: str | os.PathLike[str] | None = None,
        allow_missing: bool = False,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self._images = listing(self.root / "images", IMAGE_SUFFIXES, _HINT)
        self._masks = listing(self.root / "masks", IMAGE_SUFFIXES, _HINT)
        self.class_names = _read_names(self.root / "classes.json")
        self.folds = interleaved(len(self.class_names))
        images = Folder(self._images, "images", self.root / "images")
        masks = Folder(self._masks, "masks", self.root / "masks", ".png")
        if split_list is None:
            present, self.missing = only_present(self._masks, [images], allow_missing)
            self.entries = tuple(self._held(sorted(present)))
        else:
            listed = read_split_list(split_list, len(self.class_names))
            present, self.missing = only_present((one.image for one in listed), [images, masks], allow_missing)
            self.entries = tuple(one for one in listed if one.image in present)
        if not self.entries:
            raise DataError(f"{describe(masks.path)}: no mask here holds a class; check the folder")

    def image(self, image_id: str) -> Path:
        """The image's file."""
        return self._images.get(image_id, self.root / "images" / image_id)

    def _mask_file(self, image_id: str) -> Path:
        return self._masks.get(image_id, self.root / "masks" / f"{image_id}.png")

    def _read(self, image_id: str) -> NDArray[np.int32]:
        return read_labels(self._mask_file(image_id), len(self.class_names))


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        values: Any = json.loads(regular(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{describe(path)}: {error.strerror or error}; {_HINT}") from error
    except ValueError as error:
        raise DataError(f"{describe(path)}: is no JSON; write {_FORM}") from error
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
