"""Finding image files: paths, folders and glob patterns to a list of files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fewshot_seg.errors import PATH_TYPES, DataError, describe

_USUAL: Final = ("jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "bmp", "dib", "tif", "tiff", "webp", "avif")
_RARE: Final = ("jp2", "j2k", "jpx", "mpo", "ppm", "pgm", "pbm", "pnm", "pfm")
# Most installations cannot read these, but a message about each is better than photographs left out unseen.
_PHONES: Final = ("heic", "heif")

IMAGE_SUFFIXES: Final = frozenset(f".{name}" for name in (*_USUAL, *_RARE, *_PHONES))
"""Suffixes, in lower case, by which image files are known in a folder."""


def find_images(
    patterns: Iterable[str | os.PathLike[str]] | str | os.PathLike[str], *, recursive: bool = False
) -> list[Path]:
    """The files that paths, folders and glob patterns stand for.

    - A file that exists is taken as it is, whatever its suffix and even if its name looks like a pattern.
      Whether it holds an image is found out when it is read.
    - A folder stands for its files with an image suffix, hidden ones left out, 2.jpg before 10.jpg; with
      `recursive` also for those in its subfolders, linked ones too.
    - A glob pattern (`**` goes through subfolders) stands for the image files and folders that it matches;
      one that ends in a suffix of its own (`*.dat`) for all files that it matches.

    Args:
        patterns: files, folders and globs; their order is kept. One alone need not be in a list.
        recursive: go through the subfolders of folders.

    Returns:
        Files in order, as they were written, each file once, the first time that it comes up.

    Raises:
        DataError: nothing given, one that matches nothing, a folder without images or that cannot be listed.
    """
    if isinstance(patterns, PATH_TYPES):
        patterns = [patterns]
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _matches(os.fspath(pattern), recursive):
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise DataError("no images were given; name files, folders or patterns such as 'photos/*.jpg'")
    return list(found.values())


def natural_key(text: str) -> tuple[list[str | int], str]:
    """A sort key by which 2.jpg comes before 10.jpg; the same on every machine and in every language."""
    parts = re.split(r"([0-9]+)", text)  # text and digits in turn, so that equal places hold equal types
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], text


def subfolders(root: Path, hint: str = "check the path") -> dict[str, Path]:
    """Visible folders in a folder by their names, in natural order; DataError, with a hint, if it can't be listed."""
    return {entry.name: Path(entry.path) for entry in _visible(root, hint) if entry.is_dir()}


def _matches(pattern: str, recursive: bool) -> list[Path]:
    if _is_folder(pattern):
        files = list(_in_folder(Path(pattern), recursive))
        where = "in it or below" if recursive else "in it (subfolders are not searched)"
        problem = f"the folder has no images {where}; give a folder with image files"
    elif os.path.lexists(pattern):
        return [Path(pattern)]
    elif glob.has_magic(pattern):
        files, problem = list(_in_glob(pattern, recursive)), "matches no image; check the path"
    else:
        files, problem = [], "no such file or folder; check the path"
    if not files:
        raise DataError(f"{describe(pattern)}: {problem}")
    return files


def _in_glob(pattern: str, recursive: bool) -> Iterator[Path]:
    suffix = Path(pattern).suffix
    every_file = bool(suffix) and not glob.has_magic(suffix)
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute patterns
    for path in sorted(found, key=natural_key):
        if _is_folder(path):
            yield from _in_folder(Path(path), recursive)
        elif every_file or _is_image_name(path):
            yield Path(path)


def _in_folder(folder: Path, recursive: bool) -> Iterator[Path]:
    """Its image files, then those of its subfolders; each real folder once, under its own name rather than a link's."""
    seen: set[tuple[int, int]] = set()
    linked: list[Path] = []
    yield from _below(folder, recursive, seen, linked)
    while linked:  # links of links come to the end; a loop leads to what was seen
        yield from _below(linked.pop(0), recursive, seen, linked)


def _below(folder: Path, recursive: bool, seen: set[tuple[int, int]], linked: list[Path]) -> Iterator[Path]:
    entries = _visible(folder)
    status = os.stat(folder)  # noqa: PTH116 - as for folders everywhere here
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    folders = {entry.name: entry for entry in entries if _is_folder(entry.path)}
    yield from (Path(entry.path) for entry in entries if entry.name not in folders and _is_image_name(entry.name))
    for entry in folders.values() if recursive else ():
        if entry.is_symlink():
            linked.append(Path(entry.path))
        else:
            yield from _below(Path(entry.path), recursive, seen, linked)


def _visible(folder: Path, hint: str = "check the path") -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            visible = [entry for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{describe(folder)}: the folder cannot be listed ({error.strerror}); {hint}") from error
    return sorted(visible, key=lambda entry: natural_key(entry.name))


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for names that are too long to exist


def _is_image_name(path: str) -> bool:
    return Path(path).suffix.lower() in IMAGE_SUFFIXES
