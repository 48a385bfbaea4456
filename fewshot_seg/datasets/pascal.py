"""PASCAL VOC in its own folder layout, with the four folds of PASCAL-5i (Shaban et al., BMVC 2017)."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.masked import Folder, MaskedImages, listing, only_present
from fewshot_seg.datasets.splits import read_split_list
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.masks import as_labels, read_labels

CLASSES: Final = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_FOLDS: Final = 4
_MAT_FOLDERS: Final = ("cls", "SBD/cls", "SBD/dataset/cls", "benchmark_RELEASE/dataset/cls")
_HINT: Final = "the root must hold JPEGImages and SegmentationClass, as VOC2012 does"


class PascalVoc(MaskedImages):
    """VOC images and masks, and which of them count.

    Masks are taken from the first of these that has one: SegmentationClass/ID.png (VOC's own, 255 void),
    SegmentationClassAug/ID.png (the usual form of SBD's), and SBD's own cls/ID.mat, in the root or in
    SBD, SBD/dataset or benchmark_RELEASE/dataset below it. (Hariharan et al., "Semantic Contours", ICCV 2011.)

    Args:
        root: the folder with JPEGImages/ID.jpg and the masks.
        split_list: a list of `ID__CC` lines, as PASCAL-5i's lists are. None means every class of every mask
            in the folder, in the order of the ids.
        allow_missing: leave out entries whose image or mask isn't there.

    Raises:
        DataError: a folder is missing, the list is bad (with file and line), or images or masks that it names
            are missing (how many, and three of them).
        ImageError: without a list, an unreadable mask.
    """

    name = "pascal5i"
    class_names = CLASSES
    folds = tuple(tuple(range(5 * fold + 1, 5 * fold + 6)) for fold in range(_FOLDS))

    def __init__(
        self,
        root: str | os.PathLike[str],
        split_list: str | os.PathLike[str] | None = None,
        allow_missing: bool = False,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self._images = listing(self.root / "JPEGImages", (".jpg",), _HINT)
        self._masks = self._find_masks()
        images = Folder(self._images, "images", self.root / "JPEGImages", ".jpg")
        if split_list is None:
            present, self.missing = only_present(self._masks, [images], allow_missing)
            self.entries = tuple(self._held(sorted(present)))
        else:
            listed = read_split_list(split_list, len(CLASSES))
            needed = [images, Folder(self._masks, "masks", self._mask_folder, ".png")]
            present, self.missing = only_present((one.image for one in listed), needed, allow_missing)
            self.entries = tuple(one for one in listed if one.image in present)
        if not self.entries:
            raise DataError(f"{describe(self._mask_folder)}: no mask here holds a class; check the folder")

    def image(self, image_id: str) -> Path:
        """The image's file."""
        return self._images.get(image_id, self.root / "JPEGImages" / f"{image_id}.jpg")

    @property
    def _mask_folder(self) -> Path:
        return self.root / "SegmentationClass"

    def _find_masks(self) -> dict[str, Path]:
        """Image id -> the mask's file; VOC's own stand over SBD's."""
        folders = [(self.root / name, ".mat") for name in _MAT_FOLDERS]
        folders.append((self.root / "SegmentationClassAug", ".png"))
        found: dict[str, Path] = {}
        for folder, suffix in folders:
            if folder.is_dir():
                found |= listing(folder, (suffix,), _HINT)
        if self._mask_folder.is_dir() or not found:
            found |= listing(self._mask_folder, (".png",), _HINT)
        return found

    def _mask_file(self, image_id: str) -> Path:
        return self._masks[image_id] if image_id in self._masks else self._mask_folder / f"{image_id}.png"

    def _read(self, image_id: str) -> NDArray[np.int32]:
        path = self._mask_file(image_id)
        if path.suffix == ".mat":
            return as_labels(_read_sbd(path), len(CLASSES), path, void=255)
        return read_labels(path, len(CLASSES))


def _read_sbd(path: Path) -> NDArray[np.uint8]:
    """The (H, W) class labels of one of SBD's files, which have no void.

    Raises:
        DataError: no such file.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    unreadable = (OSError, EOFError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error)
    try:
        labels = np.asarray(loadmat(str(path))["GTcls"]["Segmentation"][0, 0])
    except (*unreadable, KeyError, IndexError) as error:
        raise DataError(f"{describe(path)}: no masks of SBD (GTcls.Segmentation); get it again") from error
    if labels.ndim != 2 or labels.dtype.kind not in "ui":
        raise DataError(f"{describe(path)}: GTcls.Segmentation is no (H, W) array of labels; get it again")
    return labels
