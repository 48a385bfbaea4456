"""What a removal and an update have to do: which rows are meant, what has become of the files, what is new."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fewshot_seg.errors import PATH_TYPES, DataError, describe
from fewshot_seg.imaging.find import find_images
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.ingest import known_rows
from fewshot_seg.retrieval.roots import Source, base_of, identity_key
from fewshot_seg.retrieval.sources import Failure, Item


@dataclass(frozen=True)
class Update:
    """What an update has to do: images to look at, rows whose files are gone, and what cannot be looked at."""

    items: tuple[Item, ...]
    vanished: tuple[int, ...]
    failures: tuple[Failure, ...]


def named_rows(
    contents: Contents, paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str]
) -> tuple[list[int], list[Failure]]:
    """The rows that paths, folders and patterns name, whether or not their files are still there.

    Args:
        contents: the index.
        paths: as they were given when the images were indexed, or as they are from here.

    Returns:
        Row numbers, rising; and those of `paths` that name no row.

    Raises:
        DataError: no paths.
    """
    given = [os.fspath(path) for path in ([paths] if isinstance(paths, PATH_TYPES) else paths)]
    if not given:
        raise DataError("no images were given; name files, folders or patterns of the index")
    rows = [(number, key, row.path) for key, (number, row) in known_rows(contents).items()]
    named: set[int] = set()
    failures = []
    for pattern in given:
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


def plan_update(contents: Contents) -> Update:
    """Which files of an index are to be looked at, which are gone, and which are new in its folders and patterns.

    Images of a folder that is gone as a whole are kept: it may only be unmounted.
    """
    places = [(source, _place(source, contents)) for source in contents.config.sources]
    lost = {place: source.pattern for source, (_, place) in places if source.folder and not os.path.isdir(place)}  # noqa: PTH112
    failures = [Failure(pattern, f"{describe(place)}: {_LOST}") for place, pattern in lost.items()]
    unseen = tuple(identity_key(place) + os.sep for place in lost)
    items: dict[str, Item] = {}
    vanished = []
    for key, (number, row) in known_rows(contents).items():
        location = contents.locate(row)
        if os.path.lexists(location):
            items[key] = Item(location, row.path, row.root, row.columns)
        elif not key.startswith(unseen):
            vanished.append(number)
    excluded = set(contents.config.excluded)
    for source, (base, place) in places:
        for item in _items_of(source, base, place) if place not in lost else ():
            if (item.path, item.root) not in excluded:
                items.setdefault(identity_key(item.location), item)
    return Update(tuple(items.values()), tuple(vanished), tuple(failures))


_LOST = "the folder is gone, and its images are kept; bring it back, or remove them with 'index remove'"


def _place(source: Source, contents: Contents) -> tuple[str, str]:
    """The folder that a source's pattern counts from, with a separator behind it, and the whole pattern."""
    if source.root is None:
        return "", source.pattern
    base = os.path.join(base_of(contents.config.roots[source.root], contents.folder), "")  # noqa: PTH118
    return base, (base if source.folder else glob.escape(base)) + source.pattern


def _items_of(source: Source, base: str, place: str) -> Iterator[Item]:
    """The images that are in a folder, or match a pattern, now."""
    try:
        found = find_images([place], recursive=True)
    except DataError:  # none any more
        return
    for path in map(str, found):
        yield Item(path, path.removeprefix(base), source.root)


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
