"""LabelMe: a JSON for each image, which names it by a path from the JSON; no pixels inside."""

from __future__ import annotations

import os
from typing import Any, Final

from fewshot_seg.formats.annotations import AnnotatedImage, Export, as_json
from fewshot_seg.formats.polygons import one_ring, polygons_of

_VERSION: Final = "5.5.0"  # of the format, as LabelMe writes it


class LabelmeExport(Export):
    """STEM.json. Polygons; parts of one thing are a group, a hole is joined to the outline by a line of no width."""

    title = "LabelMe json"

    def _add(self, image: AnnotatedImage) -> None:
        height, width = image.size
        shapes: list[dict[str, Any]] = []
        for group, one in enumerate(image.annotations, start=1):
            parts = polygons_of(one.mask, self.tolerance)
            for part in parts:
                shape = {
                    "label": one.label,
                    "points": one_ring([part]).tolist(),
                    "group_id": group if len(parts) > 1 else None,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                }
                shapes.append(shape if one.score is None else shape | {"score": one.score})
        place = image.name if image.path is None else os.path.relpath(image.path, self.out).replace(os.sep, "/")
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": place,
            "imageData": None,
        }
        self.write(f"{image.stem}.json", as_json(content | {"imageHeight": height, "imageWidth": width}))
