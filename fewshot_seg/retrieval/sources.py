"""What a user gives as images of an index: files, folders and patterns; and what has become of those given before."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from fewshot_seg.errors import PATH_TYPES, DataError, describe
from fewshot_seg.imaging.find import find_images
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.rows import Source, base_of, identity_key

Paths = Iterable[str | os.PathLike[str]] | str | os.PathLike[str]
"""One alone need not be in a list."""
Columns = Mapping[str, Sequence[str]]
"""What else is known of images: name -> a text for each path, which are then files."""

_HERE: Final = 0  # the working folder, before it is known what number it has among an index's
_LOST: Final = "the folder is gone, and its images are kept; bring it back, or remove them with 'index remove'"


@dataclass(frozen=True)
class Item:
    """An image that is to be in the index: its file, now, and path, root and columns as of a `Row`."""

    location: str
    path: str
    root: int | None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An input that was left out, and why: one line, which names it."""

    path: str
    error: str


@dataclass(frozen=True)
class Found:
    """What inputs stand for: images, those without any, and the folders and patterns among them."""

    items: tuple[Item, ...] = ()
    failures: tuple[Failure, ...] = ()
    sources: tuple[Source, ...] = ()

    def counted_from(self, root: int) -> Found:
        """The same, the working folder being number `root` among an index's."""
        items = tuple(item if item.root is None else replace(item, root=root) for item in self.items)
        sources = tuple(source if source.root is None else replace(source, root=root) for source in self.sources)
        return replace(self, items=items, sources=sources)


def find_items(paths: Paths, columns: Columns | None = None) -> Found:
    """The images that files, folders (searched through) and patterns stand for, each once; see `Found.counted_from`.

    Raises:
        DataError: no paths, columns that don't fit the paths, or a file that comes up twice with other columns.
    """
    given = _texts(paths, "files, folders or patterns such as 'photos/*.jpg'")
    items: dict[str, Item] = {}
    failures: list[Failure] = []
    sources: list[Source] = []
    for pattern, known in zip(given, _by_path(given, columns or {}), strict=True):
        try:
            files = _files_of(pattern, bool(columns))
        except DataError as error:
            failures.append(Failure(pattern, str(error)))
            continue
        if files != [pattern]:
            sources.append(Source(pattern, _root_of(pattern), Path(pattern).is_dir()))
        for path in files:
            first = items.setdefault(os.path.realpath(path), Item(path, path, _root_of(path), known))
            if first.columns != known:
                raise DataError(f"{describe(path)}: is there twice, with other columns; give each image once")
    return Found(tuple(items.values()), tuple(failures), tuple(sources))


def named_rows(contents: Contents, paths: Paths) -> tuple[list[int], list[Failure]]:
    """The rows that paths, folders and patterns name, whether or not their files are still there.

    Paths count as they were given when the images were indexed, or as they are from here.

    Returns:
        Row numbers, rising; and those of `paths` that name no row.

    Raises:
        DataError: no paths.
    """
    rows = [(number, key, row.path) for key, (number, row) in contents.by_file().items()]
    named: set[int] = set()
    failures = []
    for pattern in _texts(paths, "files, folders or patterns of the index"):
        here = identity_key(pattern)
        matches = re.compile(_as_regex(here), re.DOTALL).fullmatch
        beneath = here.rstrip(os.sep) + os.sep
        found = {
            number
            for number, key, path in rows
            if pattern == path or here == key or key.startswith(beneath) or matches(key)
        }
        if not found:
            failures.append(Failure(pattern, f"{describe(pattern)}: the index has no such image; check the path"))
        named |= found
    return sorted(named), failures


def plan_update(contents: Contents) -> tuple[Found, list[int]]:
    """Which files of an index, and new ones of its sources, are to be looked at; and rows whose files are gone.

    Images of a folder that is gone as a whole are kept: it may only be unmounted.
    """
    places = [(source, _place(source, contents)) for source in contents.config.sources]
    lost = {place: source.pattern for source, (_, place) in places if source.folder and not os.path.isdir(place)}  # noqa: PTH112
    failures = [Failure(pattern, f"{describe(place)}: {_LOST}") for place, pattern in lost.items()]
    unseen = tuple(identity_key(place) + os.sep for place in lost)
    items: dict[str, Item] = {}
    vanished = []
    for key, (number, row) in contents.by_file().items():
        location = contents.locate(row)
        if os.path.lexists(location):
            items[key] = Item(location, row.path, row.root, row.columns)
        elif not key.startswith(unseen):
            vanished.append(number)
    excluded = set(contents.config.excluded)
    for source, (base, place) in places:
        with suppress(DataError):  # none any more
            for path in map(str, find_images([place], recursive=True) if place not in lost else ()):
                item = Item(path, path.removeprefix(base), source.root)
                if (item.path, item.root) not in excluded:
                    items.setdefault(identity_key(path), item)
    return Found(tuple(items.values()), tuple(failures)), vanished


def _texts(paths: Paths, hint: str) -> list[str]:
    given = [os.fspath(path) for path in ([paths] if isinstance(paths, PATH_TYPES) else paths)]
    if not given:
        raise DataError(f"no images were given; name {hint}")
    return given


def _root_of(path: str) -> int | None:
    return None if os.path.isabs(path) else _HERE  # noqa: PTH117 - a path may be bytes that are no text


def _by_path(given: Sequence[str], columns: Columns) -> list[dict[str, str]]:
    for name, values in columns.items():
        if isinstance(values, str) or len(values) != len(given):
            raise DataError(f"column {name!r} has {len(values)} values for {len(given)} images; give one for each")
    return [{name: str(values[place]) for name, values in columns.items()} for place in range(len(given))]


def _files_of(pattern: str, only_file: bool) -> list[str]:
    """The files of one pattern; a single file needn't be looked at, for reading it will tell what is wrong."""
    if only_file:
        if Path(pattern).is_dir():
            raise DataError(f"{describe(pattern)}: is a folder; where columns are given, each path is one image")
        return [pattern]
    return [str(path) for path in find_images([pattern], recursive=True)]


def _place(source: Source, contents: Contents) -> tuple[str, str]:
    """The folder that a source's pattern counts from, with a separator behind it, and the whole pattern."""
    if source.root is None:
        return "", source.pattern
    base = os.path.join(base_of(contents.config.roots[source.root], contents.folder), "")  # noqa: PTH118
    return base, (base if source.folder else glob.escape(base)) + source.pattern


def _as_regex(pattern: str) -> str:
    """A glob pattern as a regular expression of paths; what it matches may be a folder, too."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text = "".join(
        known.get(part) or (_as_class(part) if place % 2 else re.escape(part)) for place, part in enumerate(parts)
    )
    return f"{text}(?:/.*)?"


def _as_class(part: str) -> str:
    inside = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
