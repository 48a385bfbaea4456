"""What a user gives as images of an index: files, folders, patterns, lists and tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fewshot_seg.errors import PATH_TYPES, DataError, describe
from fewshot_seg.imaging.find import find_images
from fewshot_seg.retrieval.roots import Source, root_number

HERE = 0  # the working folder, before it is known what number it has among an index's


@dataclass(frozen=True)
class Item:
    """An image that is to be in the index.

    Attributes:
        location: its file, now.
        path: as it is kept.
        root: number of the folder that `path` counts from.
        columns: what else is known of it.
    """

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


def find_items(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str], columns: Mapping[str, Sequence[str]] | None = None
) -> Found:
    """The images that files, folders (searched through) and patterns stand for, each once; see `Found.counted_from`.

    Args:
        paths: one alone need not be in a list.
        columns: name -> a text for each of `paths`, which are then files.

    Raises:
        DataError: no paths, columns that don't fit the paths, or a file that comes up twice with other columns.
    """
    given = [os.fspath(path) for path in ([paths] if isinstance(paths, PATH_TYPES) else paths)]
    if not given:
        raise DataError("no images were given; name files, folders or patterns such as 'photos/*.jpg'")
    values = _by_path(given, columns or {})
    items: dict[str, Item] = {}
    failures: list[Failure] = []
    sources: list[Source] = []
    for pattern, known in zip(given, values, strict=True):
        try:
            files = _files_of(pattern, bool(columns))
        except DataError as error:
            failures.append(Failure(pattern, str(error)))
            continue
        if files != [pattern]:
            sources.append(Source(pattern, root_number(pattern, HERE), Path(pattern).is_dir()))
        for path in files:
            item = Item(path, path, root_number(path, HERE), known)
            first = items.setdefault(os.path.realpath(path), item)
            if first.columns != known:
                raise DataError(f"{describe(path)}: is there twice, with other columns; give each image once")
    return Found(tuple(items.values()), tuple(failures), tuple(sources))


def _by_path(given: Sequence[str], columns: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    for name, values in columns.items():
        if isinstance(values, str) or len(values) != len(given):
            raise DataError(f"column {name!r} has {len(values)} values for {len(given)} images; give one for each")
    return iter([{name: str(values[place]) for name, values in columns.items()} for place in range(len(given))])


def _files_of(pattern: str, only_file: bool) -> list[str]:
    """The files of one pattern; a single file needn't be looked at, for reading it will tell what is wrong."""
    if only_file:
        if Path(pattern).is_dir():
            raise DataError(f"{describe(pattern)}: is a folder; where columns are given, each path is one image")
        return [pattern]
    return [str(path) for path in find_images([pattern], recursive=True)]
