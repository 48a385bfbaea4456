"""Results on disk: label PNG, images, COCO run lengths, JSON. Every file appears whole or not at all.

A file is written under a temporary name in its own folder and then moved over its final name, so
a reader, a second run or a run that is killed never meets half a file. Nothing is fsynced: this protects
against a full disk and an interrupted program, not against a power cut.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fewshot_seg.errors import OutputError, ShapeError
from fewshot_seg.imaging.render import PALETTE

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 90
_CUTOUT_MARK = "Software", "fewshot-seg cut-out"
FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create `path` (and its parents) and check that files can be written in it.

    Raises:
        OutputError: it cannot be created, is not a folder, or is read-only or full.
    """
    folder = Path(path)
    with _output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # A trial file: the permission bits alone do not tell (root, read-only mounts, quotas).
        trial = temporary_path(folder / "trial")
        try:
            trial.write_bytes(b"fewshot-seg")
        finally:
            with suppress(OSError):
                trial.unlink(missing_ok=True)
    return folder


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends without an error; otherwise nothing is left.

    Raises:
        OutputError: the folder is missing or read-only, the disk is full, ...
    """
    target = Path(path)
    with _output_errors(target):
        temporary = temporary_path(target)
        try:
            with temporary.open("xb") as stream:
                yield stream
            temporary.replace(target)
        except BaseException:  # Ctrl-C too: the temporary file must go
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_label_png(path: str | os.PathLike[str], label_map: npt.NDArray[np.integer[Any]]) -> None:
    """Write an (H, W) label map (0 background, 1..255 classes) as an 8-bit PNG with the PASCAL VOC palette.

    The pixel values are the labels; the palette only colours them for viewers.

    Raises:
        ShapeError: not (H, W), or a label outside 0..255.
        OutputError: the file cannot be written.
    """
    from PIL import Image

    if label_map.ndim != 2 or 0 in label_map.shape:
        raise ShapeError(f"a label map is (H, W), got {label_map.shape}")
    if label_map.min() < 0 or label_map.max() > 255:
        low, high = int(label_map.min()), int(label_map.max())
        raise ShapeError(f"an 8-bit label map holds 0..255, got labels from {low} to {high}")
    image = Image.fromarray(np.ascontiguousarray(label_map, dtype=np.uint8))
    image.putpalette(PALETTE.tobytes())  # turns mode L into P
    _save(image, path, "PNG", optimize=False)


def write_image(path: str | os.PathLike[str], image: npt.NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) uint8 RGB image; the suffix says how: .jpg, .jpeg or .png.

    A JPEG side is at most 65,535 pixels; a longer image is written smaller, in proportion.

    Raises:
        ShapeError: not (H, W, 3) uint8.
        OutputError: another suffix, or the file cannot be written.
    """
    from PIL import Image

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"an image is (H, W, 3) uint8, got {image.shape} {image.dtype}")
    kind = FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise OutputError(f"{path}: images are written as {', '.join(FORMATS)}; choose one of these endings")
    picture = Image.fromarray(np.ascontiguousarray(image))
    if kind == "JPEG":
        picture.thumbnail((65_500, 65_500))
        _save(picture, path, kind, quality=JPEG_QUALITY)
    else:
        _save(picture, path, kind)


def write_cutout(path: str | os.PathLike[str], cutout: npt.NDArray[np.uint8]) -> None:
    """Write an (H, W, 4) uint8 RGBA image as a PNG that `is_our_cutout` knows; OutputError where that fails."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_text(*_CUTOUT_MARK)
    _save(Image.fromarray(np.ascontiguousarray(cutout)), path, "PNG", pnginfo=mark)


def is_our_cutout(path: Path) -> bool:
    """Whether a file is one that `write_cutout` wrote; a link is not."""
    from PIL import Image

    name, value = _CUTOUT_MARK
    try:
        with Image.open(path) as image:
            return not path.is_symlink() and image.info.get(name) == value
    except (OSError, ValueError, SyntaxError):
        return False


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any] | list[Any]) -> None:
    """Write `content` as UTF-8 JSON.

    File names that are not valid UTF-8 (they reach Python as lone surrogates) are written as JSON escapes, so
    the file stays valid and reads back to the same name.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_file(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace") + b"\n")


def _save(image: Image.Image, path: str | os.PathLike[str], kind: str, **options: Any) -> None:
    with atomic_file(path) as stream:
        image.save(stream, format=kind, **options)


def temporary_path(target: Path) -> Path:
    """A new name beside a file, for what is going to replace it; see `remove_leftovers`."""
    # Short and hidden: a long final name plus a suffix could pass the file system's limit of 255 bytes.
    return target.with_name(f".fewshot-seg-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that `temporary_path` gives."""
    return re.fullmatch(r"\.fewshot-seg-\d+-[0-9a-f]{8}\.(tmp|mp4)", name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes left; the caller holds the folder's lock. No link is followed."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if is_temporary(path.name) and path.is_file() and not path.is_symlink():
            with suppress(OSError):
                path.unlink()


@contextmanager
def _output_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {target}: {reason}; check the folder and the space left") from error
