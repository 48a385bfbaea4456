"""COCO from one of its json files, with the four folds of COCO-20i as HSNet's code has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.labelled import examples
from fewshot_seg.datasets.segmentation import Entry, Files, SegmentationDataset, listing, read_json, read_split_list
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.find import IMAGE_SUFFIXES
from fewshot_seg.imaging.geometry import Outline, check_outline, check_size, draw_outline

_log = logging.getLogger(__name__)

_HINT: Final = "give a json file of COCO's instances, or the folder that has annotations/instances_SPLIT.json"


class Coco(SegmentationDataset):
    """COCO's images; each is labelled with its annotations painted one over the other.

    Classes are the json's categories by ascending id: class 1 is the first of them. An image's id is its file's name
    without the suffix.

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
    _empty = f"no image here holds a class; {_HINT}"

    def _lay_out(self) -> None:
        path = _json_file(self.root)
        content = _read(path)
        self.class_names, numbers = _classes(content["categories"], path)
        self._sizes, self._painted = _annotations(content, numbers, path)
        folder, images = _images(path, self._sizes)
        self._images = Files(images, "images", folder)
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
        raise DataError(f"{describe(root)}: {what}; {_HINT}")
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path, _HINT, _HINT)
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise DataError(f"{describe(path)}: has no lists 'images', 'annotations', 'categories'; {_HINT}")
    return content


def _classes(categories: Sequence[Mapping[str, Any]], path: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes' names, and category id -> class number."""
    try:
        ordered = sorted((int(one["id"]), str(one["name"])) for one in categories)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{describe(path)}: a category has no id or no name; {_HINT}") from error
    names = tuple(name for _, name in ordered)
    if not names or len(set(names)) < len(names) or len(dict(ordered)) < len(names):
        raise DataError(f"{describe(path)}: categories must be there, and differ in id and name; {_HINT}")
    return names, {category: label for label, (category, _) in enumerate(ordered, start=1)}


class _Painted(NamedTuple):
    """One annotation: its class, COCO's segmentation, and where its outline lies."""

    label: int
    shape: Any
    outline: Outline


def _annotations(
    content: Mapping[str, Any], numbers: Mapping[int, int], path: Path
) -> tuple[dict[str, tuple[int, int]], dict[str, list[_Painted]]]:
    """Image id -> (H, W), and -> its annotations in the order of painting.

    What can't be used is left out, and said once for each kind: annotations of unknown images or categories, and those
    without an outline, as of boxes and key points.
    """
    where = describe(path)
    try:
        ids = {one["id"]: Path(one["file_name"]).stem for one in content["images"]}
        sizes = {}
        for one in content["images"]:
            with _named(where, f"image {one['id']}"):
                sizes[ids[one["id"]]] = check_size(one.get("height"), one.get("width"))
        painted: dict[str, list[_Painted]] = {image_id: [] for image_id in sizes}
        unused: dict[str, list[object]] = {}
        for one in sorted(content["annotations"], key=lambda one: not one.get("iscrowd")):
            image_id, label = ids.get(one.get("image_id")), numbers.get(one.get("category_id"))
            if image_id is None or label is None:
                kind = f"of {'an image' if image_id is None else 'a category'} that the file doesn't list"
                unused.setdefault(kind, []).append(one.get("id"))
                continue
            with _named(where, f"annotation {one.get('id', '?')} of image {image_id}"):
                outline = check_outline(one.get("segmentation"), sizes[image_id])
            if outline is None:
                unused.setdefault("without an outline of three points or more", []).append(one.get("id"))
            else:
                painted[image_id].append(_Painted(label, one["segmentation"], outline))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: an image or annotation is incomplete ({error!r}); {_HINT}") from error
    for kind, found in unused.items():
        _log.warning("%s: annotations %s are left out: %d, the first is %s", where, kind, len(found), found[0])
    if len(sizes) < len(content["images"]):
        raise DataError(f"{where}: two images have one name; ids must differ")
    return sizes, painted


@contextmanager
def _named(where: str, what: str) -> Iterator[None]:
    """Errors of one image or annotation say whose they are."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {what}: {error}; mend it or get the file again") from error


def _may_be_covered(label: int, painted: Sequence[_Painted]) -> bool:
    """Whether later annotations of other classes could hide all that an image has of a class."""
    own = [place for place, one in enumerate(painted) if one.label == label]
    return all(_hidden(painted[place], painted[place + 1 :]) for place in own)


def _hidden(one: _Painted, later: Sequence[_Painted]) -> bool:
    left, top, right, bottom = one.outline.box
    boxes = [other.outline.box for other in later if other.label != one.label]
    shared = (max(0, min(right, r) - max(left, x)) * max(0, min(bottom, b) - max(top, y)) for x, y, r, b in boxes)
    return bool(boxes) and sum(shared) >= 0.9 * (right - left) * (bottom - top)  # 0.9: pixels are rounded


def _images(path: Path, wanted: Mapping[str, object]) -> tuple[Path, dict[str, Path]]:
    """The folder with the images, and image id -> file; the first folder that has any of those wanted."""
    split = path.stem.removeprefix("instances_")
    bases = (path.parent, path.parent.parent)
    folders = [base / part for base in bases for part in (split, f"images/{split}", "images", ".")]
    for folder in folders:
        if folder.is_dir():
            files = listing(folder, IMAGE_SUFFIXES, _HINT)
            if not files.keys().isdisjoint(wanted):
                return folder, files
    places = f"{split}, images/{split} or images"
    raise DataError(f"{describe(path)}: none of its images is here; put them into {places} beside annotations")
