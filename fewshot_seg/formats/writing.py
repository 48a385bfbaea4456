"""Every format by its name, and one way to write any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from fewshot_seg.errors import ConfigError, DataError, ImageError
from fewshot_seg.formats.annotations import AnnotatedImage, Export
from fewshot_seg.formats.coco import CocoExport
from fewshot_seg.formats.cutout import CutoutExport
from fewshot_seg.formats.cvat import CvatExport
from fewshot_seg.formats.labelme import LabelmeExport
from fewshot_seg.formats.labelstudio import LabelStudioExport
from fewshot_seg.formats.polygons import TOLERANCE
from fewshot_seg.formats.voc import VocExport
from fewshot_seg.formats.yolo import YoloExport
from fewshot_seg.imaging.export import make_folder, remove_leftovers
from fewshot_seg.locks import sole_user

FORMATS: Final[dict[str, type[Export]]] = {
    "coco": CocoExport,
    "labelme": LabelmeExport,
    "cvat": CvatExport,
    "yolo": YoloExport,
    "voc": VocExport,
    "labelstudio": LabelStudioExport,
    "cutout": CutoutExport,
}


def write_annotations(
    to: str,
    images: Iterable[AnnotatedImage],
    classes: Sequence[str],
    out: Path,
    *,
    tolerance: float = TOLERANCE,
    on_error: Callable[[AnnotatedImage, DataError | ImageError], None] | None = None,
) -> list[Path]:
    """Write images' masks for another tool, one image after the other; see docs/formats.md.

    Files that an export wrote into the folder, and that nobody has changed since, are replaced; nothing else is.

    Args:
        to: a name of `FORMATS`.
        images: of any length, drawn one by one.
        classes: the classes' names, in the order of the format's numbers.
        out: a folder; made if it isn't there.
        tolerance: pixels, see `polygons.polygons_of`.
        on_error: is told of an image that can't be written, and the others are done; None raises instead.

    Returns:
        The files, in the order of writing.

    Raises:
        ConfigError: an unknown format, or another option out of range; the folder is in use, or has a file of others
        where one goes. OutputError: a file can't be written. DataError, ImageError: an image, without on_error.
    """
    if to not in FORMATS:
        raise ConfigError(f"unknown format {to!r}: choose {', '.join(FORMATS)}")
    out = make_folder(out)
    with sole_user(out):
        remove_leftovers(out)
        export = FORMATS[to](out, classes, tolerance)
        try:
            for image in images:
                try:
                    export.add(image)
                except (DataError, ImageError) as error:
                    if on_error is None:
                        raise
                    on_error(image, error)
        except BaseException:
            export.keep_list()
            raise
        return export.close()
