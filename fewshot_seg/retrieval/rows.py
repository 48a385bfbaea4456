"""What an index knows of each image beside its vector: where it is, and how an unchanged file is known.

A relative path is kept as it was given, together with the working folder of that time (its root). The root is kept
twice, by its whole path and as seen from the index's folder: an index that is moved alone, or searched from
another folder, finds its images by the first, one that is moved together with them by the second.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fewshot_seg.errors import ImageError, describe
from fewshot_seg.files import regular

_LATEST = 2**63 - 1  # nanoseconds that a database's integers hold: until 2262


class Stamp(NamedTuple):
    """By which an unchanged file is known without being read."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Row:
    """One image of an index.

    Attributes:
        path: as it was given.
        root: number of the folder that a relative path counts from, in the index's list; None for an absolute path.
        stamp: the file's, when it was read.
        digest: of its content.
        columns: what else is known of it, name -> text.
    """

    path: str
    root: int | None
    stamp: Stamp
    digest: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Root:
    """A folder that relative paths count from; its path from the index's folder, None for an index in memory."""

    absolute: str
    relative: str | None = None


@dataclass(frozen=True)
class Source:
    """A folder's path or a pattern, as it was given, that images were taken from; `root` as of a `Row`."""

    pattern: str
    root: int | None
    folder: bool


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """The file's size and time of change; ImageError where there is none, or it can't be reached."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no text
    except FileNotFoundError:
        raise ImageError(f"{describe(path)}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{describe(path)}: cannot be opened ({reason}); check the path") from error
    return Stamp(status.st_size, min(status.st_mtime_ns, _LATEST))


def content_digest(path: str | os.PathLike[str]) -> str:
    """BLAKE2b, 128 bits, of a file's content; ImageError where it can't be read."""
    try:
        with regular(path).open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{describe(path)}: cannot be read ({reason}); check the file") from error


def identity_key(location: str) -> str:
    """By which two paths are known to name one file; links are not followed."""
    return os.path.normpath(os.path.abspath(location))  # noqa: PTH100


def from_here(path: str, location: str) -> str:
    """A path that names the file from the working folder: as it was given if that does, else where the file is."""
    return path if identity_key(path) == identity_key(location) else location


def base_of(root: Root, folder: Path | None) -> str:
    """Where a root is now; `folder` is the index's."""
    if os.path.isdir(root.absolute) or folder is None or root.relative is None:  # noqa: PTH112
        return root.absolute
    moved = os.path.abspath(os.path.join(folder, root.relative))  # noqa: PTH100, PTH118
    return moved if os.path.isdir(moved) else root.absolute  # noqa: PTH112


def with_root(roots: Sequence[Root], folder: Path | None) -> tuple[tuple[Root, ...], int]:
    """The roots of the index in a folder, or in memory, with the working folder among them, and its number."""
    here = os.getcwd()  # noqa: PTH109 - text, as everything about paths here
    for number, root in enumerate(roots):
        if root.absolute == here:
            return tuple(roots), number
    return (*roots, Root(here, _from(folder, here))), len(roots)


def rebased(roots: Sequence[Root], old: Path | None, new: Path) -> tuple[Root, ...]:
    """The roots for an index that is saved into another folder."""
    return tuple(Root(where, _from(new, where)) for where in (base_of(root, old) for root in roots))


def _from(folder: Path | None, where: str) -> str | None:
    try:
        return None if folder is None else os.path.relpath(where, folder)
    except ValueError:  # another drive
        return None
