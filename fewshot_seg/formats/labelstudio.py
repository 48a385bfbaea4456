"""Label Studio's JSON of tasks, and the labelling configuration that it goes with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from fewshot_seg.formats.annotations import AnnotatedImage, Export, as_json
from fewshot_seg.formats.polygons import TOLERANCE, one_ring, polygons_of

_FILES: Final = "/data/local-files/?d="  # Label Studio's local storage; a name comes after it


class LabelStudioExport(Export):
    """tasks.json and config.xml. Polygons in per cent; each part is a region, a hole is joined to its outline.

    What a machine found (with scores) are predictions, which a person accepts; without any score they are annotations.
    """

    title = "Label Studio json"

    def __init__(self, out: Path, classes: Sequence[str], tolerance: float = TOLERANCE) -> None:
        super().__init__(out, classes, tolerance)
        self._tasks: list[dict[str, Any]] = []

    def _add(self, image: AnnotatedImage) -> None:
        height, width = image.size
        frame = {"from_name": "label", "to_name": "image", "type": "polygonlabels", "image_rotation": 0}
        frame |= {"original_width": width, "original_height": height}
        regions: list[dict[str, Any]] = []
        for one in image.annotations:
            for part in polygons_of(one.mask, self.tolerance):
                points = (one_ring([part]) / (width, height) * 100).tolist()
                value = {"points": points, "polygonlabels": [one.label], "closed": True}
                region = frame | {"id": f"{len(self._tasks)}-{len(regions)}", "value": value}
                regions.append(region if one.score is None else region | {"score": one.score})
        scores = [one.score for one in image.annotations if one.score is not None]
        found = {"result": regions} | ({"score": sum(scores) / len(scores)} if scores else {})
        task = {"data": {"image": _FILES + quote(image.name, errors="replace")}}
        self._tasks.append(task | {"predictions" if scores else "annotations": [found]})

    def _finish(self) -> None:
        labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in self.classes)
        config = (
            '<View>\n  <Image name="image" value="$image"/>\n'
            f'  <PolygonLabels name="label" toName="image">\n{labels}  </PolygonLabels>\n</View>\n'
        )
        self.write("tasks.json", as_json(self._tasks))
        self.write("config.xml", config.encode("utf-8", "replace"))
