"""Tiny data sets of images and masks in other layouts than VOC's; for that see `voc_files`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from fewshot_seg.datasets.coco import Coco
from tests.fewshot_seg.datasets.voc_files import labels_of, write_image, write_mask

SIZE = (24, 32)


def square(x: int, y: int, side: int) -> list[list[float]]:
    """A square's outline, as COCO's polygons are."""
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def make_coco(root: Path, names: Sequence[str], contents: Mapping[str, tuple[str, ...]]) -> Coco:
    """A COCO folder with part "tiny": image id -> its classes, a square each. Category ids have gaps."""
    write_coco(root, names, contents)
    return Coco(root)


def write_coco(root: Path, names: Sequence[str], contents: Mapping[str, tuple[str, ...]], **changes: Any) -> Path:
    """The folder of `make_coco`; `changes` replace parts of the json. Returns the json file."""
    images, annotations = [], []
    for number, (image_id, classes) in enumerate(contents.items(), start=100):
        write_image(root / "tiny" / f"{image_id}.jpg", SIZE, seed=number)
        images.append({"id": number, "file_name": f"{image_id}.jpg", "height": SIZE[0], "width": SIZE[1]})
        for place, name in enumerate(classes):
            category = 10 * (names.index(name) + 1)
            annotation = {"image_id": number, "category_id": category, "segmentation": square(6 * place + 1, 4, 8)}
            annotations.append({"id": len(annotations), "iscrowd": 0, **annotation})
    categories = [{"id": 10 * number, "name": name} for number, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories[::-1], **changes}
    path = root / "annotations" / "instances_tiny.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def make_images_and_masks(root: Path, classes: object, contents: Mapping[str, tuple[int, ...]]) -> Path:
    """A folder with images, masks and classes.json: image id -> the classes in it."""
    for number, (image_id, labels) in enumerate(contents.items()):
        write_image(root / "images" / f"{image_id}.jpg", SIZE, seed=number)
        write_mask(root / "masks" / f"{image_id}.png", labels_of(*labels))
    (root / "classes.json").write_text(json.dumps(classes))
    return root


def make_class_folders(root: Path, counts: Mapping[str, int], mask: str = "{name}/{n}.png") -> Path:
    """A folder for each class with so many images, 1.jpg and so on, and a mask for each where `mask` says."""
    for name, count in counts.items():
        for n in range(1, count + 1):
            write_image(root / name / f"{n}.jpg", SIZE, seed=n)
            write_white(root / mask.format(name=name, n=n))
    return root


def write_white(path: Path, value: int = 255, mode: str = "RGB") -> None:
    """A mask with a white bar on black, not a palette image but of `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray((labels_of(1) == 1).astype(np.uint8) * value).convert(mode).save(path)
