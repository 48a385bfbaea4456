"""COCO's instances: one JSON, masks as compressed run lengths. pycocotools, CVAT, FiftyOne and trainings read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fewshot_seg.formats.annotations import AnnotatedImage, Export, as_json
from fewshot_seg.formats.polygons import TOLERANCE
from fewshot_seg.imaging.geometry import encode_rle


class CocoExport(Export):
    """annotations.json. Run lengths keep holes and every pixel, so that nothing is simplified; "score" is added."""

    title = "COCO json"

    def __init__(self, out: Path, classes: Sequence[str], tolerance: float = TOLERANCE) -> None:
        super().__init__(out, classes, tolerance)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def _add(self, image: AnnotatedImage) -> None:
        height, width = image.size
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": image.name, "height": height, "width": width})
        for one in image.annotations:
            entry = {
                "id": len(self._annotations) + 1,
                "image_id": number,
                "category_id": self.classes[one.label] + 1,
                "iscrowd": 0,
                "area": int(one.part.sum()),
                "bbox": one.box,
                "segmentation": encode_rle(one.mask),
            }
            self._annotations.append(entry if one.score is None else entry | {"score": one.score})

    def _finish(self) -> None:
        categories = [{"id": number + 1, "name": name, "supercategory": ""} for name, number in self.classes.items()]
        content = {"info": {"description": "fewshot-seg"}, "licenses": [], "images": self._images}
        self.write("annotations.json", as_json(content | {"annotations": self._annotations, "categories": categories}))
