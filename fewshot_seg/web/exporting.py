"""A project's masks as another tool's annotations, in a zip."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.commands.outputs import output_stems
from fewshot_seg.cutting.instances import instances_of
from fewshot_seg.errors import ConfigError
from fewshot_seg.formats.annotations import LISTED, AnnotatedImage, Annotation
from fewshot_seg.formats.writing import FORMATS, write_annotations
from fewshot_seg.web.workbench import Workbench


def write_zip(bench: Workbench, to: str, accepted: bool, folder: Path) -> IO[bytes]:
    """Write all masks, or the accepted ones, in a format of `formats.FORMATS`; the zip, open for reading.

    Args:
        bench: whose project.
        to: the format.
        accepted: only accepted ones, each thing an annotation of its own.
        folder: an empty one, for what is written on the way.

    Raises:
        ConfigError: an unknown format, or nothing to write. DataError, ImageError: an image's file is gone.
    """
    images = [one for one in bench.project.images() if one["state"] == "done" and (one["accepted"] or not accepted)]
    if not images:
        what = "accept the masks of an image first" if accepted else "run an image first"
        raise ConfigError(f"there is nothing to export: {what}")
    pixels = to in FORMATS and FORMATS[to].writes_pixels
    files = write_annotations(to, _annotated(bench, images, pixels), bench.project.classes(), folder / "out")
    packed = (folder / "export.zip").open("w+b")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            if path.name != LISTED:
                archive.write(path, path.relative_to(folder / "out"))
    packed.seek(0)
    return packed


def _annotated(bench: Workbench, images: list[dict[str, Any]], pixels: bool) -> Iterator[AnnotatedImage]:
    classes = bench.project.classes()
    stems = output_stems([Path(image["name"]) for image in images])
    for image, stem in zip(images, stems, strict=True):
        labels = bench.labels(image["id"])
        scores = {one["class"]: one["score"] for one in image["found"] if image["accepted"] is None}
        things = tuple(
            Annotation(name, thing, scores.get(name))
            for label, name in enumerate(classes, start=1)
            for thing in _things(labels == label)
        )
        name = stem + (Path(image["name"]).suffix or ".jpg")
        source = bench.project.path(image) if pixels else None  # a path would mean nothing in a zip
        yield AnnotatedImage(name, (labels.shape[0], labels.shape[1]), things, source, stem)


def _things(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The things of a mask, its crumbs with the largest: what a person drew and accepted is exported to the pixel."""
    if not mask.any():
        return []
    things, rest = instances_of(mask), mask.copy()
    for thing in things:
        rest &= ~thing
    return [things[0] | rest, *things[1:]] if things else [mask]
