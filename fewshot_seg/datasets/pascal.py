"""PASCAL VOC in its own folder layout, with the four folds of PASCAL-5i (Shaban et al., BMVC 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.published import read_mat
from fewshot_seg.datasets.segmentation import Files, SegmentationDataset, listing
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.masks import as_labels, read_labels

CLASSES: Final = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor".split()
)
_MAT_FOLDERS: Final = ("cls", "SBD/cls", "SBD/dataset/cls", "benchmark_RELEASE/dataset/cls")
_HINT: Final = "the root must hold JPEGImages and SegmentationClass, as VOC2012 does"


class PascalVoc(SegmentationDataset):
    """VOC images, JPEGImages/ID.jpg, and their masks. Fold i of four holds out five classes, from 5 i + 1.

    Masks are taken from the first of these that has one: SegmentationClass/ID.png (VOC's own, 255 void),
    SegmentationClassAug/ID.png (the usual form of SBD's), and SBD's own cls/ID.mat, in the root or in
    SBD, SBD/dataset or benchmark_RELEASE/dataset below it. (Hariharan et al., "Semantic Contours", ICCV 2011.)
    """

    name = "pascal5i"
    class_names = CLASSES
    folds = tuple(tuple(range(first, first + 5)) for first in (1, 6, 11, 16))

    def _lay_out(self) -> None:
        images = self.root / "JPEGImages"
        self._images = Files(listing(images, (".jpg",), _HINT), "images", images, ".jpg")
        own = self.root / "SegmentationClass"
        found: dict[str, Path] = {}
        for name in (*_MAT_FOLDERS, "SegmentationClassAug"):  # the later stand over the earlier, VOC's own over all
            if (self.root / name).is_dir():
                found |= listing(self.root / name, (".png" if name.endswith("Aug") else ".mat",), _HINT)
        if own.is_dir() or not found:
            found |= listing(own, (".png",), _HINT)
        self._masks = Files(found, "masks", own, ".png")

    def _read(self, image_id: str) -> NDArray[np.int32]:
        path = self._masks.of(image_id)
        if path.suffix == ".mat":
            return as_labels(_read_sbd(path), len(CLASSES), path, void=255)
        return read_labels(path, len(CLASSES))


def _read_sbd(path: Path) -> NDArray[np.uint8]:
    """The (H, W) class labels of one of SBD's files, which have no void."""
    try:
        labels = np.asarray(read_mat(path)["GTcls"]["Segmentation"][0, 0])
    except (DataError, ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(f"{describe(path)}: no masks of SBD (GTcls.Segmentation); get it again") from error
    if labels.ndim != 2 or labels.dtype.kind not in "ui":
        raise DataError(f"{describe(path)}: GTcls.Segmentation is no (H, W) array of labels; get it again")
    return labels
