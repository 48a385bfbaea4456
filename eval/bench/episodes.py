"""Episodes a second with and without the cache of features."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from eval.bench.timing import Measured, Timing, side_by_side
from eval.episodes.methods import Engine, build_method
from eval.episodes.predictions import predict_run, predictions_file
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.matching.features import FeatureCache
from fewshot_seg.network.embedding import Embedder, Embedding
from fewshot_seg.streams import Track, untracked

WITHOUT, WITH = "without the cache", "with the cache"


def bench_episodes(
    engine: Engine,
    methods: Sequence[str],
    dataset: SegmentationDataset,
    episodes: Sequence[Episode],
    *,
    limit_bytes: int,
    workers: int | None = None,
    rounds: int = 5,
    track: Track = untracked,
) -> Measured:
    """Predicts the same episodes without a cache, and with one that starts empty each time.

    Args:
        engine: the network; its own cache isn't used.
        methods: names of methods that need a network; each is timed both ways.
        dataset: where the episodes are from.
        episodes: what a round predicts, masks written to a file as in a run.
        limit_bytes: of the cache.
        workers: episodes at a time, as `predictions.predict_run` takes it.
        rounds: how often each is timed.
        track: shows progress.

    Returns:
        Two timings of each method, without and with the cache; ratios are to the same method without. And
        "images": distinct images in the episodes;
        "differing_predictions": of all methods, those that weren't the same bytes in every round. None on a CPU; on a
        GPU the last bits depend on the batch, which without the cache is all shots of an episode;
        "passes": in the timings' order, how many images went through the network in a round.

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
                predict_run(Path(folder), method, dataset, episodes, workers, untracked)
                written[name].append(predictions_file(Path(folder), name).read_bytes().splitlines())
            passes[_title(name, kind)] = sum(counts)

        return run

    timings: list[Timing] = []
    for name in methods:
        kinds: dict[str, int | None] = {WITHOUT: None, WITH: limit_bytes}
        variants = {_title(name, kind): variant(name, kind, limit) for kind, limit in kinds.items()}
        timings += side_by_side(variants, len(episodes), rounds, track)
    images = {image for one in episodes for group in ((one.query,), *one.supports.values()) for image in group}
    differing = sum(len(set(lines)) > 1 for rounds_of in written.values() for lines in zip(*rounds_of, strict=True))
    facts = {"images": len(images), "differing_predictions": differing}
    return Measured(timings, facts | {"passes": [passes[one.variant] for one in timings]})


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
