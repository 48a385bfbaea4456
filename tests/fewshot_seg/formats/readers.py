"""What each tool makes of our files: pycocotools itself, else ten lines by the format's documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

Found = dict[str, list[tuple[str, NDArray[np.bool_]]]]
"""Image -> its things: class and (H,W) mask."""


def drawn(rings: list[NDArray[np.float64]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A union of polygons, as COCO's own code fills them."""
    return np.asarray(rle.decode(rle.merge(rle.frPyObjects([ring.ravel().tolist() for ring in rings], *size))), bool)


def coco(out: Path) -> Found:
    data = COCO(out / "annotations.json")
    names = {category["id"]: category["name"] for category in data.loadCats(data.getCatIds())}
    found: Found = {}
    for image in data.loadImgs(data.getImgIds()):
        own = data.loadAnns(data.getAnnIds(image["id"]))
        found[image["file_name"]] = [(names[one["category_id"]], data.annToMask(one).astype(bool)) for one in own]
    return found


def labelme(out: Path) -> Found:
    found: Found = {}
    for path in out.glob("*.json"):
        content = json.loads(path.read_bytes())
        assert (out / content["imagePath"]).is_file()
        size = content["imageHeight"], content["imageWidth"]
        groups: dict[object, list[dict[str, object]]] = {}
        for place, shape in enumerate(content["shapes"]):
            assert shape["shape_type"] == "polygon"
            groups.setdefault(shape["group_id"] or f"alone {place}", []).append(shape)
        found[Path(content["imagePath"]).name] = [
            (str(own[0]["label"]), drawn([np.array(one["points"]) for one in own], size)) for own in groups.values()
        ]
    return found


def cvat(out: Path) -> Found:
    found: Found = {}
    for image in ElementTree.parse(out / "annotations.xml").iter("image"):
        size = int(image.attrib["height"]), int(image.attrib["width"])
        groups: dict[str, tuple[str, list[NDArray[np.float64]]]] = {}
        own = found.setdefault(image.attrib["name"], [])
        for place, shape in enumerate(image):
            if shape.tag == "mask":
                own.append((shape.attrib["label"], _cvat_mask(shape.attrib, size)))
                continue
            points = np.array([point.split(",") for point in shape.attrib["points"].split(";")], float)
            group = groups.setdefault(shape.get("group_id", f"alone {place}"), (shape.attrib["label"], []))
            group[1].append(points)
        own += [(label, drawn(rings, size)) for label, rings in groups.values()]
    return found


def _cvat_mask(shape: dict[str, str], size: tuple[int, int]) -> NDArray[np.bool_]:
    left, top, width, height = (int(shape[name]) for name in ("left", "top", "width", "height"))
    mask = np.zeros(size, bool)
    flat = [bool(place % 2) for place, run in enumerate(shape["rle"].split(", ")) for _ in range(int(run))]
    mask[top : top + height, left : left + width] = np.reshape(flat, (height, width))
    return mask


def yolo(out: Path) -> Found:
    names = yaml.safe_load((out / "data.yaml").read_text("utf-8"))["names"]
    found: Found = {}
    for path in (out / "images").iterdir():
        height, width = cv2.imread(str(path)).shape[:2]
        own = found.setdefault(path.name, [])
        for line in (out / "labels" / f"{path.stem}.txt").read_text().splitlines():
            number, *shares = line.split()
            ring = np.array(shares, float).reshape(-1, 2) * (width, height)
            own.append((names[int(number)], drawn([ring], (height, width))))
    return found


def voc(out: Path) -> Found:
    names = [line.split(":")[0] for line in (out / "labelmap.txt").read_text("utf-8").splitlines()[1:]]
    found: Found = {}
    for stem in (out / "ImageSets/Segmentation/default.txt").read_text("utf-8").splitlines():
        (path,) = (out / "JPEGImages").glob(f"{stem}.*")
        kinds, things = (
            np.array(Image.open(out / part / f"{stem}.png")) for part in ("SegmentationClass", "SegmentationObject")
        )
        assert Image.open(path).size == kinds.shape[::-1]  # Pillow turns nothing, as most readers of VOC
        assert ((kinds > 0) == (things > 0)).all()
        masks = [things == number for number in range(1, int(things.max()) + 1)]
        found[path.name] = [(names[int(kinds[mask][0])], mask) for mask in masks]
    return found


def labelstudio(out: Path) -> Found:
    found: Found = {}
    for task in json.loads((out / "tasks.json").read_bytes()):
        (results,) = task.get("predictions") or task["annotations"]
        own = found.setdefault(task["data"]["image"].partition("?d=")[2], [])
        for region in results["result"]:
            size = region["original_height"], region["original_width"]
            ring = np.array(region["value"]["points"]) / 100 * size[::-1]
            own.append((region["value"]["polygonlabels"][0], drawn([ring], size)))
    return found


READERS: dict[str, Callable[[Path], Found]] = {
    "coco": coco, "labelme": labelme, "cvat": cvat, "yolo": yolo, "voc": voc, "labelstudio": labelstudio,
}  # fmt: skip
EXACT = {"coco", "voc"}
