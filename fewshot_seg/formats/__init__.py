"""Formats of other tools: masks written for them (`write_annotations`), and read from them as examples."""

from __future__ import annotations

from fewshot_seg.formats.annotations import AnnotatedImage, Annotation, Export
from fewshot_seg.formats.reading import read_supports
from fewshot_seg.formats.writing import FORMATS, write_annotations

__all__ = ["FORMATS", "AnnotatedImage", "Annotation", "Export", "read_supports", "write_annotations"]
