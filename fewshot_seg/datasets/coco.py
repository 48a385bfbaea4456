"""COCO from one of its json files, with the four folds of COCO-20i as HSNet's code has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.coco_json import HINT, Painted, read_coco
from fewshot_seg.datasets.labelled import examples
from fewshot_seg.datasets.segmentation import Entry, Files, SegmentationDataset, read_split_list
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.geometry import draw_outline


class Coco(SegmentationDataset):
    """COCO's images; each is labelled with its annotations painted one over the other.

    Classes are the json's categories by ascending id: class 1 is the first of them. Image ids, and what is left out of
    files as tools write them, are `coco_json.read_coco`'s.

    A pixel has one class: crowds are painted first, with their class as PANet's code does, then the objects in the
    json's order, the later over the earlier. HSNet and PFENet read PNG files that a script painted which is no longer
    to be had; where objects of several classes overlap, theirs may differ from these.

    Args:
        root: the json file, or a folder with annotations/instances_SPLIT.json, if there is but one. Images are
            looked for in SPLIT, images/SPLIT, images and beside, from the json's folder and the one above.
        split_list: None means every class that an image has pixels of, in the json's order of the images. Annotations
            without pixels (no segmentation, fewer than three points) count for nothing.

    Raises:
        DataError: also for an outline that cannot be (`imaging.geometry`).
    """

    name = "coco20i"
    _empty = f"no image here holds a class; {HINT}"

    def _lay_out(self) -> None:
        path = _json_file(self.root)
        found = read_coco(path)
        self.class_names, self._sizes, self._painted = found.names, found.sizes, found.painted
        self.left_out = found.left_out
        self._images = Files(found.files, "images", found.folder)
        self._masks = Files(dict.fromkeys(self._sizes, path), "annotated images", path)

    def _listed(self) -> Sequence[Entry]:
        if self._list is None:
            each = ((image, {one.label for one in painted}) for image, painted in self._painted.items())
            return [Entry(image, one) for image, found in each for one in sorted(found) if self._holds(image, one)]
        listed = read_split_list(self._list, len(self.class_names))
        if lacking := [one for one in listed if one.image in self._sizes and not self._holds(*one)]:
            named = examples([f"{one.image}__{one.label:02d}" for one in lacking])
            what = f"{len(lacking)} lines name a class that the image has no pixel of: {named}; take them off"
            raise DataError(f"{describe(self._list)}: {what}")
        return listed

    def _holds(self, image_id: str, label: int) -> bool:
        """Whether an image has pixels of a class; it is painted only where other classes could hide them all."""
        painted = self._painted[image_id]
        if not any(one.label == label for one in painted):
            return False
        return not _may_be_covered(label, painted) or label in self.labels(image_id)

    def _read(self, image_id: str) -> NDArray[np.int32]:
        labels = np.zeros(self._sizes[image_id], np.int32)
        for one in self._painted[image_id]:
            labels[draw_outline(one.shape, self._sizes[image_id])] = one.label
        return labels


def _json_file(root: Path) -> Path:
    if root.suffix == ".json":
        return root
    found = sorted(root.glob("annotations/instances_*.json")) or sorted(root.glob("instances_*.json"))
    if len(found) != 1:
        what = f"{len(found)} json files of instances here" if found else "no json file of instances here"
        raise DataError(f"{describe(root)}: {what}; {HINT}")
    return found[0]


def _may_be_covered(label: int, painted: Sequence[Painted]) -> bool:
    """Whether later annotations of other classes could hide all that an image has of a class."""
    own = [place for place, one in enumerate(painted) if one.label == label]
    return all(_hidden(painted[place], painted[place + 1 :]) for place in own)


def _hidden(one: Painted, later: Sequence[Painted]) -> bool:
    left, top, right, bottom = one.outline.box
    boxes = [other.outline.box for other in later if other.label != one.label]
    shared = (max(0, min(right, r) - max(left, x)) * max(0, min(bottom, b) - max(top, y)) for x, y, r, b in boxes)
    return bool(boxes) and sum(shared) >= 0.9 * (right - left) * (bottom - top)  # 0.9: pixels are rounded
