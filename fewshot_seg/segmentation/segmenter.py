"""The segmenter: supports are encoded once, then any number of queries are cut by them (paper, section 3.3)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, FewShotError, describe
from fewshot_seg.imaging.images import ImageInput, is_one
from fewshot_seg.matching.appearance import Past
from fewshot_seg.matching.features import FeatureCache, FeatureExtractor, Features
from fewshot_seg.matching.locators import EncodedQuery, Located
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.constraints import apply_to_map
from fewshot_seg.prompts.hints import Query
from fewshot_seg.prompts.supports import ClassSupports, Support, Supports, as_shots, group_supports
from fewshot_seg.segmentation.candidates import cut_candidates
from fewshot_seg.segmentation.choice import choose_locator
from fewshot_seg.segmentation.cutter import Cutter, Target
from fewshot_seg.segmentation.joint import Helpers, enlarged
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.prepared import Prepared, encode_examples
from fewshot_seg.segmentation.reading import Batch, QueryInput, QueryReader, Read, Run
from fewshot_seg.segmentation.results import ObjectResult, Segmentation
from fewshot_seg.segmentation.second_look import both_looks, constraints_of_part, part_to_see
from fewshot_seg.segmentation.sequence import Memory
from fewshot_seg.streams import ordered_map, worker_pool

__all__ = ["ObjectResult", "Prepared", "Query", "Segmentation", "Segmenter", "SegmenterOptions", "Support", "Supports"]

_Outcome: TypeAlias = Segmentation | FewShotError
Queries: TypeAlias = Iterable[QueryInput] | QueryInput
OnError: TypeAlias = Literal["raise", "yield"]


class Segmenter:
    """Cuts the objects of support images out of other images.

    Args:
        embedder: from `load_embedder`; it is put in eval mode.
        options: None means the defaults.
        cache: keeps what the network says of queries and supports. None: every image goes through the network
            whenever it is given. Results are the same.

    Raises:
        ConfigError: options that this embedder can't be used with. CheckpointError: a bad matcher.
    """

    def __init__(
        self, embedder: Embedder, options: SegmenterOptions | None = None, cache: FeatureCache | None = None
    ) -> None:
        self.embedder = embedder.eval()
        self.options = options or SegmenterOptions()
        choice = choose_locator(self.embedder, self.options)
        self._locator = choice.locator
        self._extractor = FeatureExtractor(self.embedder, cache, choice.matcher, choice.layers)
        self._reader = QueryReader(self._extractor)
        self._cutter = Cutter(self.options, str(self.embedder.device))

    @torch.inference_mode()
    def prepare(self, supports: Supports, negatives: ClassSupports = ()) -> Prepared:
        """Reads and encodes the supports, once for any number of queries.

        What is known of an example (see `Support`) is used; one of which nothing is known is taken as it is.

        Args:
            supports: one example, a list of one class's, or a mapping of class names to either.
            negatives: images of what is not meant ("not this"): they compete as a class of their own, which
                gets no mask.

        Returns:
            The encoded supports, for this embedder.

        Raises:
            ConfigError: as `supports.group_supports`.
            ImageError, ShapeError, DataError: a support or its mask can't be read or used.
        """
        grouped = group_supports(supports)
        groups = [group for group in (*grouped.values(), as_shots(negatives)) if group]
        shots = [shot for group in groups for shot in group]
        workers = min(self._workers(), len(shots))
        examples = iter(encode_examples(self._extractor, shots, workers, self.options.threads))
        classes = tuple(tuple(next(examples) for _ in group) for group in groups)
        given = tuple(describe(shot.image) for group in grouped.values() for shot in group)
        return Prepared(tuple(grouped), len(groups), self._locator.prepare(classes), self.embedder, classes, given)

    def candidates(self, example: ImageInput) -> list[NDArray[np.bool_]]:
        """Masks (H,W) of the things that an example may mean, the likeliest first; they may overlap.

        None without a matcher. Raises ImageError where the example can't be read.
        """
        return cut_candidates(self._extractor, self._cutter, example)

    def segment(self, query: QueryInput, supports: Supports | Prepared) -> Segmentation:
        """Cuts the supports' objects out of one query.

        Args:
            query: an image in any form, as `ImageInput` says, or a `Query`, of which something is known.
            supports: as `prepare` takes them, or what it gave.

        Returns:
            Masks at the query's native size, scores and attention.

        Raises:
            FewShotError: as `prepare`, or ImageError for the query.
        """
        if isinstance(supports, Prepared) or self._workers() == 1 or not self._reader.on_cpu:
            return next(self.segment_many([query], supports, batch_size=1, workers=1))
        classes = tuple(group_supports(supports))
        with ThreadPoolExecutor(1) as beside:  # the query is encoded while the supports are
            prepared = beside.submit(self.prepare, supports)
            found = next(self._stream([query], classes, lambda _: prepared.result(), Run(1, 1, strict=False)))
            prepared.result()  # where both can't be read, the support is named
        if isinstance(found, FewShotError):
            raise found
        return found

    @overload
    def segment_many(
        self, queries: Queries, prepared: Supports | Prepared, batch_size: int = ..., workers: int | None = ...
    ) -> Iterator[Segmentation]: ...
    @overload
    def segment_many(
        self,
        queries: Queries,
        prepared: Supports | Prepared,
        batch_size: int = ...,
        workers: int | None = ...,
        on_error: OnError = ...,
    ) -> Iterator[_Outcome]: ...
    def segment_many(
        self,
        queries: Queries,
        prepared: Supports | Prepared,
        batch_size: int = 4,
        workers: int | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[_Outcome]:
        """Cuts the objects out of any number of queries: reading, network and GrabCut overlap, memory stays flat.

        Results don't depend on the queries' order, the batch size or the number of workers.

        Args:
            queries: of any length; drawn lazily. One alone need not be in a list.
            prepared: from `prepare`, or what it takes.
            batch_size: queries that go through the network at once; on a CPU each goes alone.
            workers: threads that read and refine, and on a CPU run the network, each for a query of its own. None
                means the option `threads`, or else the machine's processors, but at most 8: each holds an image.
            on_error: "raise" a query's error when its turn comes, or "yield" it in the result's place and go on.

        Yields:
            One result for each query, in order.

        Raises:
            ConfigError: batch_size or workers below 1, or supports that another embedder has prepared.
            ImageError: an unreadable query (with on_error="raise").
        """
        run = self._checked(batch_size, workers, on_error)
        ready = self._ready(prepared)
        return self._stream(_several(queries), ready.classes, lambda _: ready, run)

    def segment_jointly(
        self,
        queries: Queries,
        prepared: Supports | Prepared,
        batch_size: int = 4,
        workers: int | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[_Outcome]:
        """As `segment_many`, but the queries help each other: the surest become further examples (see `joint`).

        Every query is read and located twice, before the first result comes; only the surest few are held in
        memory. With no sure query the results are those of `segment_many`. The order changes nothing. Arguments,
        what is yielded and what is raised are as there, but all queries are drawn at once.
        """
        run = self._checked(batch_size, workers, on_error)
        return self._jointly(list(_several(queries)), self._ready(prepared), run)

    def segment_sequence(
        self, frames: Queries, prepared: Supports | Prepared, on_error: OnError = "raise"
    ) -> Iterator[_Outcome]:
        """As `segment_many`, for frames of one scene in order: what was found helps in the frames to come.

        Frames are drawn as they are needed, and memory stays flat (see `sequence`). A frame that can't be read
        is passed over, with on_error="yield".
        """
        return self._sequence(_several(frames), self._ready(prepared), self._checked(1, None, on_error))

    def _checked(self, batch_size: int, workers: int | None, on_error: str) -> Run:
        workers = self._workers() if workers is None else workers
        if not all(type(count) is int and count >= 1 for count in (batch_size, workers)):
            raise ConfigError(f"batch_size {batch_size} and workers {workers} must be whole numbers and at least 1")
        if on_error not in ("raise", "yield"):
            raise ConfigError(f"unknown on_error {on_error!r}: choose raise or yield")
        return Run(batch_size, workers, on_error == "raise")

    def _workers(self) -> int:
        return min(self.options.threads or os.cpu_count() or 1, 8)

    def _ready(self, supports: Supports | Prepared) -> Prepared:
        prepared = supports if isinstance(supports, Prepared) else self.prepare(supports)
        if prepared.embedder is not self.embedder:
            raise ConfigError("the supports were prepared by another embedder; call this segmenter's own `prepare`")
        return prepared

    def _jointly(self, queries: list[QueryInput], prepared: Prepared, run: Run) -> Iterator[_Outcome]:
        helpers = Helpers(prepared.examples[: len(prepared.classes)])
        with worker_pool(run.workers, self.options.threads) as pool:
            look = partial(self._look, prepared=prepared)
            for seen in self._reader.each(pool, look, queries, prepared.classes, run):
                if seen is not None:
                    helpers.add(*seen)
        ready = enlarged(helpers, lambda more: prepared.with_more(self._locator, more))
        yield from self._stream(queries, prepared.classes, ready, run)

    def _sequence(self, frames: Iterable[QueryInput], prepared: Prepared, run: Run) -> Iterator[_Outcome]:
        follow = partial(self._follow, prepared=prepared, memory=Memory(len(prepared.classes)))
        with worker_pool(run.workers, self.options.threads) as pool:
            for one in self._reader.each(pool, self._reader.encoded, frames, prepared.classes, run):
                if isinstance(one, FewShotError) and run.strict:
                    raise one
                yield one if isinstance(one, FewShotError) else pool.submit(follow, *one).result()

    @torch.inference_mode()
    def _follow(self, query: Read, features: Features, prepared: Prepared, memory: Memory) -> Segmentation:
        """The next frame, by what was found in those before it. In the pool: one torch thread, as for all else."""
        target = self._target(query, features, prepared, memory.past(features))
        found = self._cutter.cut(target, prepared.classes)
        memory.remember(features, target.located, found)
        return found

    @torch.inference_mode()
    def _look(self, batch: Batch, prepared: Prepared) -> list[tuple[Features, Located] | None]:
        """What each of a batch of queries has to say to all the others; nothing from one that can't be read."""

        def find(query: Read, features: Features) -> tuple[Features, Located]:
            return features, self._find(EncodedQuery(features, query.constraints), prepared)

        return [None if isinstance(one, FewShotError) else find(*one) for one in self._reader.encoded(batch)]

    def _stream(
        self, queries: Iterable[QueryInput], classes: tuple[str, ...], ready: Callable[[Features], Prepared], run: Run
    ) -> Iterator[_Outcome]:
        with worker_pool(run.workers, self.options.threads) as pool:
            located = self._reader.each(pool, partial(self._locate, prepared=ready), queries, classes, run)

            def cut(target: Target | FewShotError) -> _Outcome:
                return target if isinstance(target, FewShotError) else self._cutter.cut(target, classes)

            for result in ordered_map(pool, cut, located, run.workers + 1):
                if run.strict and isinstance(result, FewShotError):
                    raise result
                yield result

    @torch.inference_mode()
    def _locate(self, batch: Batch, prepared: Callable[[Features], Prepared]) -> list[Target | FewShotError]:
        """Maps of every readable query of a batch, with one pass through the network."""
        encoded = self._reader.encoded(batch)
        return [one if isinstance(one, FewShotError) else self._target(*one, prepared(one[1])) for one in encoded]

    def _target(
        self, query: Read, features: Features, prepared: Prepared, past: tuple[Past | None, ...] = ()
    ) -> Target:
        """What `_find` gives, and a second look from close by where that is wanted."""
        size, pixels = query.loaded.size, query.loaded.pixels
        located = self._find(EncodedQuery(features, query.constraints, past), prepared)
        part = part_to_see(located.maps, size) if self.options.look_twice else None
        if part is not None:
            (near,) = self._extractor.features([self._extractor.load(np.ascontiguousarray(pixels[part]), pixels=False)])
            constraints = tuple(constraints_of_part(one, part) for one in query.constraints)
            past = tuple(None if one is None else one._replace(distance=None) for one in past)
            second = self._find(EncodedQuery(near, constraints, past), prepared)
            located = both_looks(located, second, part, size)
        return Target(query.source, pixels, located, query.constraints, query.image)

    def _find(self, query: EncodedQuery, prepared: Prepared) -> Located:
        """Maps and scores of the classes, after the negatives have had their say."""
        several = len(prepared.classes)
        constraints = query.constraints + (None,) * (prepared.groups - several)
        past = query.past + (None,) * (len(constraints) - len(query.past)) if query.past else ()
        located = self._locator.locate(EncodedQuery(query.features, constraints, past), prepared.state)
        maps = located.maps
        if located.probabilistic and prepared.groups > several:  # what is rather "not this" is nothing of the classes
            maps = maps * (maps >= maps[several:].max(0))
        pairs = zip(maps, query.constraints, strict=False)
        maps = np.stack([map_ if known is None else apply_to_map(map_, known) for map_, known in pairs])
        return located._replace(maps=maps, scores=located.scores[:several], shots=())


def _several(queries: Queries) -> Iterable[QueryInput]:
    one = is_one(queries) or isinstance(queries, Query)
    return [queries] if one else queries  # type: ignore[list-item,return-value]
