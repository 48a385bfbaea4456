"""COCO from one of its json files, with the four folds of COCO-20i as HSNet's code has them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.masked import Folder, MaskedImages, interleaved, listing, only_present
from fewshot_seg.datasets.segmentation import Entry
from fewshot_seg.datasets.splits import read_split_list
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.find import IMAGE_SUFFIXES

__all__ = ["Coco"]

_HINT: Final = "give a json file of COCO's instances, or the folder that has annotations/instances_SPLIT.json"


class Coco(MaskedImages):
    """COCO's images; each is labelled with its annotations painted one over the other.

    Classes are the json's categories by ascending id: class 1 is the first of them. Fold i of four holds out classes
    i + 1, i + 5, ..., which are COCO-20i's. An image's id is its file's name without the suffix.

    A pixel has one class: crowds are painted first, with their class as PANet's code does, then the objects in the
    json's order, the later over the earlier. HSNet and PFENet read PNG files that a script painted which is no longer
    to be had; where objects of several classes overlap, theirs may differ from these.

    Args:
        root: the json file, or a folder with annotations/instances_SPLIT.json, if there is but one. Images are
            looked for in SPLIT, images/SPLIT, images and beside, from the json's folder and the one above.
        split_list: a list of `ID__CC` lines. None means every class with an annotation, in the json's order of the
            images.
        allow_missing: leave out entries whose image isn't there.

    Raises:
        DataError: another layout, a bad list, or missing files.
    """

    name = "coco20i"

    def __init__(
        self,
        root: str | os.PathLike[str],
        split_list: str | os.PathLike[str] | None = None,
        allow_missing: bool = False,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self._json = _json_file(self.root)
        content = _read(self._json)
        self.class_names, numbers = _classes(content["categories"], self._json)
        self.folds = interleaved(len(self.class_names))
        self._sizes, self._drawn = _annotations(content, numbers, self._json)
        folder, self._images = _images(self._json, self._sizes)
        if split_list is None:
            listed: Sequence[Entry] = [*self._annotated()]
        else:
            listed = read_split_list(split_list, len(self.class_names))
        needed = [Folder(self._images, "images", folder), Folder(self._sizes, "annotated images", self._json)]
        present, self.missing = only_present((one.image for one in listed), needed, allow_missing)
        self.entries = tuple(one for one in listed if one.image in present)
        if not self.entries:
            raise DataError(f"{describe(self._json)}: no image here holds a class; {_HINT}")

    def image(self, image_id: str) -> Path:
        """The image's file."""
        return self._images.get(image_id, self.root / image_id)

    def _annotated(self) -> Iterator[Entry]:
        for image_id, drawn in self._drawn.items():
            for label in sorted({label for label, _ in drawn}):
                yield Entry(image_id, label)

    def _mask_file(self, image_id: str) -> Path:
        return self._json

    def _read(self, image_id: str) -> NDArray[np.int32]:
        labels = np.zeros(self._sizes[image_id], np.int32)
        for label, shape in self._drawn[image_id]:
            labels[_decode(shape, self._sizes[image_id], f"{describe(self._json)}: image {image_id}")] = label
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
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{describe(path)}: {error.strerror or error}; {_HINT}") from error
    except ValueError as error:
        raise DataError(f"{describe(path)}: is no JSON; {_HINT}") from error
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


_Drawn = dict[str, list[tuple[int, Any]]]


def _annotations(
    content: Mapping[str, Any], numbers: Mapping[int, int], path: Path
) -> tuple[dict[str, tuple[int, int]], _Drawn]:
    """Image id -> (H, W), and -> (class, COCO's segmentation) in the order of painting."""
    try:
        ids = {one["id"]: Path(one["file_name"]).stem for one in content["images"]}
        sizes = {ids[one["id"]]: (int(one["height"]), int(one["width"])) for one in content["images"]}
        drawn: _Drawn = {image_id: [] for image_id in sizes}
        for one in sorted(content["annotations"], key=lambda one: not one.get("iscrowd")):
            drawn[ids[one["image_id"]]].append((numbers[one["category_id"]], one["segmentation"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{describe(path)}: an image or annotation is incomplete ({error!r}); {_HINT}") from error
    if len(sizes) < len(content["images"]):
        raise DataError(f"{describe(path)}: two images have one name; ids must differ")
    return sizes, drawn


def _decode(shape: Any, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """(H, W) bool of a segmentation: polygons, or a run-length encoding, compressed or not."""
    from pycocotools import mask as coco_mask

    try:
        if isinstance(shape, list):
            rle = coco_mask.merge(coco_mask.frPyObjects(shape, *size)) if shape else None
        else:
            rle = coco_mask.frPyObjects(shape, *size) if isinstance(shape["counts"], list) else shape
        decoded = np.zeros(size, bool) if rle is None else coco_mask.decode(rle).astype(bool)
    except Exception as error:
        raise DataError(f"{where}: an annotation is no polygon or run-length encoding; get the file again") from error
    if decoded.shape != size:
        raise DataError(f"{where}: a mask is {decoded.shape}, its image {size} (H, W); get the file again")
    return np.asarray(decoded)


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
