"""Episodes a second with and without the cache of features."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from eval.bench.timing import Progress, Timing, side_by_side
from eval.episodes.methods import Engine, build_method
from eval.episodes.predictions import predict_run, predictions_file
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.matching.features import FeatureCache
from fewshot_seg.network.embedding import Embedder, Embedding

WITHOUT, WITH = "without the cache", "with the cache"


@dataclass(frozen=True)
class EpisodeBench:
    """What was found.

    Attributes:
        timings: two of each method, without and with the cache; ratios are to the same method without.
        passes: in their order, how many images went through the network in a round.
        images: distinct images in the episodes.
        differing: predictions, of all methods, that weren't the same bytes in every round. None on a CPU; on a
            GPU the last bits depend on the batch, which without the cache is all shots of an episode.
    """

    timings: list[Timing]
    passes: list[int]
    images: int
    differing: int


def bench_episodes(
    engine: Engine,
    methods: Sequence[str],
    dataset: SegmentationDataset,
    episodes: Sequence[Episode],
    *,
    limit_bytes: int,
    workers: int | None = None,
    rounds: int = 5,
    progress: Progress | None = None,
) -> EpisodeBench:
    """Predicts the same episodes without a cache, and with one that starts empty each time.

    Args:
        engine: the network; its own cache isn't used.
        methods: names of methods that need a network; each is timed both ways.
        dataset: where the episodes are from.
        episodes: what a round predicts, masks written to a file as in a run.
        limit_bytes: of the cache.
        workers: episodes at a time, as `predictions.predict_run` takes it.
        rounds: how often each is timed.
        progress: shows it.

    Raises:
        ConfigError: nothing to time. FewShotError: from the methods.
    """
    written: dict[str, list[list[bytes]]] = {name: [] for name in methods}
    passes: dict[str, int] = {}

    def variant(name: str, kind: str, limit: int | None) -> Callable[[], None]:
        def run() -> None:
            fresh = replace(engine, cache=None if limit is None else FeatureCache(limit))
            with tempfile.TemporaryDirectory() as folder, _counted(engine.embedder) as counts:
                method = {name: build_method(name, fresh)}
                predict_run(Path(folder), method, dataset, episodes, workers, lambda items, total, what: iter(items))
                written[name].append(predictions_file(Path(folder), name).read_bytes().splitlines())
            passes[_title(name, kind)] = sum(counts)

        return run

    timings: list[Timing] = []
    for name in methods:
        kinds: dict[str, int | None] = {WITHOUT: None, WITH: limit_bytes}
        variants = {_title(name, kind): variant(name, kind, limit) for kind, limit in kinds.items()}
        timings += side_by_side(variants, len(episodes), rounds, progress)
    images = {image for one in episodes for group in ((one.query,), *one.supports.values()) for image in group}
    differing = sum(len(set(lines)) > 1 for rounds_of in written.values() for lines in zip(*rounds_of, strict=True))
    return EpisodeBench(timings, [passes[one.variant] for one in timings], len(images), differing)


@contextmanager
def _counted(embedder: Embedder) -> Iterator[list[int]]:
    """The sizes of the batches that go through the network in the block.

    A hook would see them, too, but with hooks on it the network isn't folded (`network.folding`), and slower.
    """
    seen: list[int] = []
    passing = embedder.with_layers

    def counting(batch: Tensor, names: Collection[str]) -> tuple[Embedding, dict[str, Tensor]]:
        seen.append(len(batch))
        return passing(batch, names)

    setattr(embedder, "with_layers", counting)  # noqa: B010 - the instance's, for the block; no method is replaced
    try:
        yield seen
    finally:
        delattr(embedder, "with_layers")


def _title(method: str, kind: str) -> str:
    return f"{method}, {kind}"
