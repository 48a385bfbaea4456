"""What every format is written from: images with masks of things, and the folder that their files go to."""

from __future__ import annotations

import hashlib
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import PATH_TYPES, ConfigError, DataError, ShapeError, describe
from fewshot_seg.formats.polygons import TOLERANCE, check_tolerance
from fewshot_seg.imaging.export import atomic_file, make_folder, write_json
from fewshot_seg.imaging.geometry import bounding_box
from fewshot_seg.imaging.inputs import ImageInput

LISTED: Final = ".fewshot-seg-export"
"""In a folder, JSON: the files that exports have written, name -> SHA-256. What isn't as listed is somebody's own."""


class Annotation:
    """One thing, or all of a class where things aren't told apart. Of its mask only the box is kept in memory.

    Args:
        label: its class.
        mask: (H,W) bool, upright, as a viewer shows the image.
        score: in [0, 1]; None where a person has said so.

    Attributes:
        size: (H,W) of the image.
        box: [x, y, w, h] in whole pixels.
        part: (h,w) bool, the mask within the box.

    Raises:
        DataError: a score that is no number.
    """

    def __init__(self, label: str, mask: NDArray[np.bool_], score: float | None = None) -> None:
        if score is not None and not math.isfinite(score):
            raise DataError(f"class {label!r}: the score is {score}, which is no number")
        self.label, self.score, self.size = label, score, mask.shape
        self.box = bounding_box(mask)
        self.part = np.array(mask[self._place], bool)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H,W) bool."""
        whole = np.zeros(self.size, bool)
        whole[self._place] = self.part
        return whole

    @property
    def _place(self) -> tuple[slice, slice]:
        left, top, width, height = self.box
        return slice(top, top + height), slice(left, left + width)


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image's annotations.

    Attributes:
        name: what the format calls the image: its file's name, or its path below a folder of images, with "/".
        size: (H,W), upright: after EXIF orientation.
        annotations: in the order of painting, where they overlap. Empty masks are passed over.
        source: the image itself; only formats that write pixels need it.
        stem: what files written for this image alone are called; the name's, if empty. No two images share one.

    Raises:
        ShapeError: a mask of another size. DataError: a stem that is no plain file name.
    """

    name: str
    size: tuple[int, int]
    annotations: tuple[Annotation, ...]
    source: ImageInput | None = None
    stem: str = ""

    def __post_init__(self) -> None:
        if not self.stem:
            object.__setattr__(self, "stem", Path(self.name.rpartition("/")[2]).stem)
        if self.stem in ("", ".", "..") or set(self.stem) & set("/\\\0\r\n"):
            raise DataError(f"{describe(self.stem)}: is no plain name for a file; give the image another")
        for one in self.annotations:
            if one.size != tuple(self.size):
                raise ShapeError(f"{describe(self.name)}: a mask is {one.size}, the image {tuple(self.size)}")
        filled = tuple(one for one in self.annotations if one.part.any())
        object.__setattr__(self, "annotations", filled)

    @property
    def path(self) -> Path | None:
        """The source, if it is a file."""
        return Path(self.source) if isinstance(self.source, PATH_TYPES) else None


class Export(ABC):
    """A format being written. Masks are held of one image at a time; a file about all is written by `close`.

    Args:
        out: the folder; made if it isn't there.
        classes: their names, in the order of the format's numbers.
        tolerance: see `polygons_of`; exact formats ignore it.

    Raises:
        ConfigError: no class, or one given twice; a tolerance below 0. OutputError: the folder can't be written.
    """

    title: ClassVar[str]  # for people
    writes_pixels: ClassVar[bool] = False  # and so needs every image's source

    def __init__(self, out: Path, classes: Sequence[str], tolerance: float = TOLERANCE) -> None:
        self.classes = {name: number for number, name in enumerate(classes)}
        if not classes or len(self.classes) < len(classes):
            raise ConfigError("classes: at least one must be given, and each once")
        self.tolerance = check_tolerance(tolerance)
        self.out = make_folder(out)
        self.written: list[Path] = []
        self._listed = _listed(self.out)

    def add(self, image: AnnotatedImage) -> None:
        """Take the next image; one that raises leaves nothing of it in a file about all.

        Raises:
            DataError: a class that isn't one of `classes`, or more than the format holds. ImageError: the pixels
            can't be read. ConfigError: a file of others is in the way. OutputError: a file can't be written.
        """
        for one in image.annotations:
            if one.label not in self.classes:
                raise DataError(f"{describe(image.name)}: class {one.label!r} is none of {', '.join(self.classes)}")
        self._add(image)

    def close(self) -> list[Path]:
        """Write what is about all images; the files written. Errors as of `add`."""
        try:
            self._finish()
        finally:
            self.keep_list()
        return self.written

    def keep_list(self) -> None:
        """Note what was written, so that a later export may replace it."""
        write_json(self.out / LISTED, dict(sorted(self._listed.items())))

    def write(self, name: str, content: bytes) -> None:
        """A file of the folder, whole or not at all; in place of what an export wrote, if it is still as written.

        Raises:
            ConfigError: what is there is somebody's own, or leads out of the folder. OutputError: it can't be written.
        """
        path = self.out / name
        digest = hashlib.sha256(content).hexdigest()
        if not path.parent.is_dir():
            make_folder(path.parent)
        outside = Path(os.path.realpath(path.parent)) != Path(os.path.realpath(self.out)) / Path(name).parent
        if outside or path in self.written or (os.path.lexists(path) and self._is_foreign(path, name, digest)):
            raise ConfigError(f"{path} is there, and not as an export wrote it; move it, or choose another --out")
        if not path.is_file() or path.read_bytes() != content:
            with atomic_file(path) as stream:
                stream.write(content)
        self._listed[name] = digest
        self.written.append(path)

    def _is_foreign(self, path: Path, name: str, digest: str) -> bool:
        if path.is_symlink() or not path.is_file():
            return True
        return hashlib.sha256(path.read_bytes()).hexdigest() not in (self._listed.get(name), digest)

    @abstractmethod
    def _add(self, image: AnnotatedImage) -> None: ...

    def _finish(self) -> None:  # noqa: B027 - nothing, where each image has files of its own
        """Write the files about all images."""


def as_json(content: Any) -> bytes:
    """UTF-8; file names that aren't text become escapes, as in `write_json`."""
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _listed(out: Path) -> dict[str, str]:
    path = out / LISTED
    try:
        content = json.loads(path.read_bytes()) if path.is_file() and not path.is_symlink() else {}
    except (OSError, ValueError, RecursionError):  # then nothing is known to be ours
        content = {}
    return content if isinstance(content, dict) else {}
