"""Queries on their way to the locator: read, with what is known of them, and encoded, a few at a time, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple, TypeAlias, TypeVar

from fewshot_seg.errors import FewShotError, describe
from fewshot_seg.imaging.images import ImageInput
from fewshot_seg.matching.features import FeatureExtractor, Features, Loaded
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.prompts.hints import Query, query_constraints
from fewshot_seg.streams import read_then

QueryInput: TypeAlias = ImageInput | Query

T = TypeVar("T")


class Read(NamedTuple):
    """A query that was read."""

    source: str  # its path, or what it was
    loaded: Loaded  # with its pixels
    constraints: tuple[Constraints | None, ...]  # what is known of each class's object
    image: ImageInput  # as it was given


Batch: TypeAlias = list[Read | FewShotError]


class Run(NamedTuple):
    """How queries are worked through: as `segment_many` says; `strict` raises errors."""

    batch_size: int
    workers: int
    strict: bool


class QueryReader:
    """Reads and encodes queries."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor

    @property
    def on_cpu(self) -> bool:
        """Whether the network runs on a CPU, where each query goes through it alone."""
        return self._extractor.embedder.device.type == "cpu"

    def each(
        self,
        pool: Executor,
        work: Callable[[Batch], list[T]],
        queries: Iterable[QueryInput],
        classes: tuple[str, ...],
        run: Run,
    ) -> Iterator[T]:
        """`work` of every query that was read, or its error, in order."""
        read = partial(self._read, classes=classes)
        at_once = {"batch_size": run.batch_size, "workers": run.workers}
        return read_then(pool, read, work, queries, **at_once, alone=self.on_cpu)

    def encoded(self, batch: Batch) -> list[tuple[Read, Features] | FewShotError]:
        """Every readable query of a batch with its features, by one pass through the network; errors stay."""
        queries = [query for query in batch if isinstance(query, Read)]
        features = iter(self._extractor.features([query.loaded for query in queries]) if queries else [])
        return [(one, next(features)) if isinstance(one, Read) else one for one in batch]

    def _read(self, query: QueryInput, classes: tuple[str, ...]) -> Read | FewShotError:
        image = query.image if isinstance(query, Query) else query
        try:
            loaded = self._extractor.load(image, pixels=True)
            return Read(describe(image), loaded, query_constraints(query, classes, loaded.size), image)
        except FewShotError as error:
            return error
