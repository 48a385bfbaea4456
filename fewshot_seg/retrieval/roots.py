"""Where an index's images are: paths as they were given, and the folders that relative ones count from.

A relative path is kept as it was given, together with the working folder of that time (its root). The root is kept
twice, by its whole path and as seen from the index's folder: an index that is moved alone, or searched from
another folder, finds its images by the first, one that is moved together with them by the second.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Root:
    """A folder that relative paths count from.

    Attributes:
        absolute: its path.
        relative: its path from the index's folder; None for an index in memory.
    """

    absolute: str
    relative: str | None = None


@dataclass(frozen=True)
class Source:
    """A folder or pattern that images were taken from.

    Attributes:
        pattern: as it was given.
        root: number of the folder that a relative pattern counts from; None for an absolute one.
        folder: whether it is a folder's path, not a pattern.
    """

    pattern: str
    root: int | None
    folder: bool


def with_root(roots: Sequence[Root], folder: Path | None) -> tuple[tuple[Root, ...], int]:
    """The roots with the working folder among them, and its number.

    Args:
        roots: of the index.
        folder: the index's own; None for an index in memory.
    """
    here = os.getcwd()  # noqa: PTH109 - text, as everything about paths here
    for number, root in enumerate(roots):
        if root.absolute == here:
            return tuple(roots), number
    return (*roots, Root(here, _from(folder, here))), len(roots)


def root_number(path: str, number: int) -> int | None:
    """The root that a path counts from: none if it is absolute."""
    return None if os.path.isabs(path) else number  # noqa: PTH117 - a path may be bytes that are no text


def rebased(roots: Sequence[Root], old: Path | None, new: Path) -> tuple[Root, ...]:
    """The roots for an index that is saved into another folder."""
    return tuple(
        replace(root, absolute=where, relative=_from(new, where)) for root in roots for where in [base_of(root, old)]
    )


def from_here(path: str, location: str) -> str:
    """A path that names the file from the working folder: as it was given if that does, else where the file is."""
    return path if identity_key(path) == identity_key(location) else location


def base_of(root: Root, folder: Path | None) -> str:
    """Where a root is now; `folder` is the index's."""
    if os.path.isdir(root.absolute) or folder is None or root.relative is None:  # noqa: PTH112
        return root.absolute
    moved = os.path.abspath(os.path.join(folder, root.relative))  # noqa: PTH100, PTH118
    return moved if os.path.isdir(moved) else root.absolute  # noqa: PTH112


def locate(path: str, root: int | None, roots: Sequence[Root], folder: Path | None) -> str:
    """Where the file of a path is now; where it was, if it is nowhere."""
    if root is None:
        return path
    first = os.path.join(roots[root].absolute, path)  # noqa: PTH118
    if os.path.lexists(first) or folder is None or roots[root].relative is None:
        return first
    second = os.path.join(folder, roots[root].relative or "", path)  # noqa: PTH118
    return second if os.path.lexists(second) else first


def identity_key(location: str) -> str:
    """By which two paths are known to name one file; links are not followed."""
    return os.path.normpath(os.path.abspath(location))  # noqa: PTH100


def _from(folder: Path | None, where: str) -> str | None:
    if folder is None:
        return None
    try:
        return os.path.relpath(where, folder)
    except ValueError:  # another drive
        return None
