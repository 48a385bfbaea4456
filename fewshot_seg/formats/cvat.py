"""CVAT's XML, "CVAT for images 1.1"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.formats.annotations import AnnotatedImage, Annotation, Export
from fewshot_seg.formats.polygons import TOLERANCE, polygons_of

_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class CvatExport(Export):
    """annotations.xml. Polygons, a thing's parts as a group; a thing with holes is a mask, pixel by pixel."""

    title = "CVAT for images 1.1"

    def __init__(self, out: Path, classes: Sequence[str], tolerance: float = TOLERANCE) -> None:
        super().__init__(out, classes, tolerance)
        self._root = ElementTree.Element("annotations")
        ElementTree.SubElement(self._root, "version").text = "1.1"
        labels = ElementTree.SubElement(
            ElementTree.SubElement(ElementTree.SubElement(self._root, "meta"), "task"), "labels"
        )
        for name in self.classes:
            ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = _text(name)
        self._count = 0

    def _add(self, image: AnnotatedImage) -> None:
        height, width = image.size
        size = {"width": str(width), "height": str(height)}
        entry = ElementTree.Element("image", {"id": str(self._count), "name": _text(image.name), **size})
        for group, one in enumerate(image.annotations, start=1):
            self._draw(entry, one, group)
        self._root.append(entry)
        self._count += 1

    def _draw(self, entry: ElementTree.Element, one: Annotation, group: int) -> None:
        common = {"label": _text(one.label), "source": "auto", "occluded": "0", "z_order": "0"}
        parts = polygons_of(one.mask, self.tolerance)
        if any(part.holes for part in parts):
            left, top, width, height = one.box
            box = {"left": left, "top": top, "width": width, "height": height}
            runs = _runs(one.part)
            common |= {"rle": ", ".join(map(str, runs))} | {name: str(side) for name, side in box.items()}
            ElementTree.SubElement(entry, "mask", common)
            return
        if len(parts) > 1:
            common["group_id"] = str(group)
        for part in parts:
            points = ";".join(f"{x:g},{y:g}" for x, y in part.outer)
            ElementTree.SubElement(entry, "polygon", common | {"points": points})

    def _finish(self) -> None:
        ElementTree.indent(self._root)
        self.write("annotations.xml", ElementTree.tostring(self._root, "utf-8", xml_declaration=True))


def _runs(mask: NDArray[np.bool_]) -> list[int]:
    """Row by row, unfilled and filled in turn."""
    flat = np.concatenate([[False], mask.ravel(), [not mask[-1, -1]]])
    return [int(run) for run in np.diff(np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1])]))]


def _text(text: str) -> str:
    """Without what XML can't hold."""
    return _NOT_IN_XML.sub("�", text)
