"""A folder for each class, with images and their masks: FSS-1000 (Li et al., CVPR 2020) and everything like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.segmentation import Entry, Files, SegmentationDataset, StrPath, read_ids, read_split_list
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.find import IMAGE_SUFFIXES, natural_key, subfolders
from fewshot_seg.imaging.masks import read_mask

_HINT: Final = "the root must hold a folder for each class, with images and their masks"
_ENDING: Final = "_mask"
_SUBFOLDER: Final = "masks"


class ClassFolders(SegmentationDataset):
    """A folder for each class, each image with a mask that says where the class's object is.

    CLASS/NAME.jpg is an image (any suffix of an image); its mask is the first of these that there is:

    - CLASS/masks/NAME.png, or masks/CLASS/NAME.png beside a folder images, which then holds the classes;
    - CLASS/NAME_mask.png;
    - CLASS/NAME.png, if the image isn't a PNG itself (FSS-1000: 1.jpg and 1.png).

    The first two may have any suffix of an image. A mask's foreground is what `read_mask` says of soft masks: of white
    on black what is half white, as HSNet's code reads FSS-1000; of others what is not black. Image ids are
    "CLASS/NAME". Classes are numbered from 1 in the order of their names. (FSS-1000 itself has no folds: give "all" and
    a list.) A list may also be of names of classes, one a line, as FSS-1000's are: then these are the only classes,
    numbered from 1.
    """

    name = "folder"
    _empty = f"no class has an image; {_HINT}"

    def _lay_out(self) -> None:
        apart = (self.root / "images").is_dir() and (self.root / _SUBFOLDER).is_dir()
        folders = subfolders(self.root / "images" if apart else self.root, _HINT)
        if not folders:
            raise DataError(f"{describe(self.root)}: no folders here; {_HINT}")
        chosen = _whole_classes(self._list, folders)
        if chosen is not None:
            self._list = None
        self.class_names = tuple(name for name in folders if chosen is None or name in chosen)
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for name in self.class_names:
            for image, mask in _images_and_masks(folders[name], self.root / _SUBFOLDER / name if apart else None):
                images[f"{name}/{image.stem}"] = image
                if mask is not None:
                    masks[f"{name}/{image.stem}"] = mask
        self._images, self._masks = Files(images, "images", self.root), Files(masks, "masks", self.root)

    def labels(self, image_id: str) -> frozenset[int]:
        """The class of the image's folder, which is the only one; nothing is read."""
        return frozenset({self.class_names.index(image_id.partition("/")[0]) + 1})

    def _listed(self) -> Sequence[Entry]:
        if self._list is None:
            return [*self._held(self._images.there)]
        listed = read_split_list(self._list, len(self.class_names))
        for one in listed:
            if one.image in self._images.there and one.label not in self.labels(one.image):
                name = self.class_names[one.label - 1]
                raise DataError(f"{describe(self._list)}: {one.image!r} is listed as {name!r}; mend that line")
        return listed

    def _read(self, image_id: str) -> NDArray[np.int32]:
        (label,) = self.labels(image_id)
        return read_mask(self._masks.of(image_id), soft=True).astype(np.int32) * label


def _whole_classes(path: StrPath | None, folders: Mapping[str, Path]) -> frozenset[str] | None:
    """The classes of a list that names classes; None for a list of entries, or for none."""
    if path is None:
        return None
    names = read_ids(path)
    known = names.intersection(folders)
    if not known:
        return None
    if unknown := sorted(names - known):
        raise DataError(f"{describe(path)}: {len(unknown)} classes have no folder: {unknown[0]!r}; mend the list")
    return known


def _images_and_masks(folder: Path, masks: Path | None) -> list[tuple[Path, Path | None]]:
    """Each image and its mask (None where there is none), in the order of the names: 2.jpg before 10.jpg."""
    files = _files(folder)
    apart = {path.stem: path for path in _files(masks or folder / _SUBFOLDER)}
    marked = {path.stem.removesuffix(_ENDING): path for path in files if _is_marked(path)}
    photos = {path.stem for path in files if path.suffix.lower() != ".png"}
    beside = {path.stem: path for path in files if path.suffix.lower() == ".png" and path.stem in photos}
    found: dict[str, tuple[Path, Path | None]] = {}
    for image in files:
        stem = image.stem
        if _is_marked(image) or image in beside.values():
            continue  # a mask
        if stem in found:
            raise DataError(f"{describe(folder)}: two images of one name, {describe(stem)}; keep one")
        found[stem] = image, apart.get(stem) or marked.get(stem) or beside.get(stem)
    return [*found.values()]


def _is_marked(path: Path) -> bool:
    return path.stem.endswith(_ENDING) and len(path.stem) > len(_ENDING)


def _files(folder: Path) -> list[Path]:
    """A folder's image files in the order of their names; none if there is no such folder."""
    if not folder.is_dir():
        return []
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found = [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    return sorted(found, key=lambda path: natural_key(path.name))
