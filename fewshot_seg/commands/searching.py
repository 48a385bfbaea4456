"""Queries of a command line searched for in an index, one after the other or all as one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fewshot_seg.commands.console import complain, tracked
from fewshot_seg.commands.hints import Box, parse_box
from fewshot_seg.errors import ConfigError, DataError, FewShotError

if TYPE_CHECKING:
    from fewshot_seg.retrieval.index import Index
    from fewshot_seg.retrieval.search import Combine


@dataclass(frozen=True)
class SearchRequest:
    """How `fewshot-seg search` was asked to search; `combine` ("average", "any") makes one query of all."""

    k: int = 10
    threshold: float | None = None
    box: str | None = None
    unlike: Sequence[str] = ()
    combine: Combine | None = None


@dataclass(frozen=True)
class EntryHit:
    """A hit as it is printed: its path from here, its score, its columns, where its file is, and its region's box."""

    path: str
    score: float
    columns: Mapping[str, str]
    location: str
    region: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Entry:
    """What is kept of an answer: text, no tensors."""

    queries: tuple[str, ...]
    hits: tuple[EntryHit, ...]
    error: str | None
    box: Box | None

    @property
    def name(self) -> str:
        """The query, or all of them."""
        return ", ".join(self.queries)


@dataclass(frozen=True)
class Answer:
    """One query's hits, or why there are none.

    Attributes:
        queries: the query's paths; several where they were combined.
        hits: `Hit`s or `RegionHit`s, best first.
        error: why it could not be read.
        box: what of it was meant.
        lost: images of the index that should have been looked at, and could not be read.
    """

    queries: tuple[str, ...]
    hits: Sequence[Any] = ()
    error: str | None = None
    box: Box | None = None
    lost: int = 0

    def entry(self) -> Entry:
        """What is kept of it when all queries are done."""
        from fewshot_seg.retrieval.rows import from_here

        hits = (
            EntryHit(from_here(h.path, h.location), h.score, h.columns, h.location, getattr(h, "box", None))
            for h in self.hits
        )
        return Entry(self.queries, tuple(hits), self.error, self.box)


def collect(answers: Iterable[Answer], draw: Callable[[Answer], None]) -> list[Entry]:
    """What is kept of the answers, each drawn first; a query that can't be read is complained of."""
    entries = []
    for answer in answers:
        if answer.error is not None:
            complain(answer.error)
        draw(answer)
        entries.append(answer.entry())
    return entries


@dataclass(frozen=True)
class Query:
    """An image to search with, or why it is known beforehand that it cannot be read."""

    path: str
    error: str | None = None


def find_queries(patterns: Sequence[str]) -> list[Query]:
    """The images that files, folders and patterns stand for, in order, each once."""
    from fewshot_seg.imaging.find import find_images

    found: dict[str, Query] = {}
    for pattern in patterns:
        try:
            for path in find_images([pattern], recursive=True):
                found.setdefault(os.path.realpath(path), Query(str(path)))
        except DataError as error:
            found.setdefault(os.path.realpath(pattern), Query(pattern, str(error)))
    return list(found.values())


def run_search(index: Index, queries: Sequence[Query], request: SearchRequest) -> Iterator[Answer]:
    """Each query's answer, in order; one that can't be read has its error in it.

    Raises:
        ConfigError: options that don't go together. ImageError, DataError: an image of `unlike`, or one of the queries
        that are combined, can't be read.
    """
    from fewshot_seg.imaging.find import find_images

    unlike = [str(path) for path in find_images(request.unlike, recursive=True)] if request.unlike else []
    options: dict[str, Any] = {"threshold": request.threshold, "unlike": unlike}
    if request.combine is None and request.box is None:
        yield from _each(index, queries, request.k, options)
        return
    for query in queries:
        if query.error is not None:  # of one query that is made of several, none can be left out
            raise DataError(query.error)
    paths = tuple(query.path for query in queries)
    box = None
    if request.box is not None:
        if len(paths) > 1:
            raise ConfigError(f"--box is a part of one QUERY, and there are {len(paths)}; search for them one by one")
        box = parse_box("--box", request.box, request.box)
    combine: Combine = request.combine or "average"
    yield Answer(paths, index.search(list(paths), request.k, box=box, combine=combine, **options), box=box)


def _each(index: Index, queries: Sequence[Query], k: int, options: dict[str, Any]) -> Iterator[Answer]:
    found = index.search_each((query.path for query in queries if query.error is None), k, **options)
    for query in tracked(queries, len(queries), "searching"):
        hits = DataError(query.error) if query.error is not None else next(found)
        if isinstance(hits, FewShotError):
            yield Answer((query.path,), error=str(hits))
        else:
            yield Answer((query.path,), hits)
