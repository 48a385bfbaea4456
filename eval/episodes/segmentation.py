"""A segmentation run: episodes, predictions of every method on the same ones, and their score, in one folder.

Predicting and scoring are apart: predictions are kept as they come, and the score is computed from the files,
so that an interrupted run ends in the same numbers as one that was not.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.episodes.matchers import choose_matcher
from eval.episodes.methods import Engine, HintKinds, build_method, needs_network
from eval.episodes.plan import Plan, SegmentationTask, open_task, plan_episodes
from eval.episodes.predictions import predict_run
from eval.episodes.scoring import EPISODES, score_run
from eval.runs.folder import CONFIG, claim_run, held_folder
from eval.runs.provenance import code_digest, libraries
from eval.runs.shards import ALONE, Shard, wait_for_files
from fewshot_seg import __version__
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode, read_episodes, write_episodes
from fewshot_seg.errors import ConfigError, describe
from fewshot_seg.network.sources import PLUGIN
from fewshot_seg.plugins import BACKBONES, METHODS, REFINERS, versions_of
from fewshot_seg.streams import Track

if TYPE_CHECKING:
    from fewshot_seg.network.embedding import Embedder

# Where the data lies doesn't change a result; what is in it shows in the episodes, which are compared.
_FREE = ("root", "split_list", "episodes_file")


def run_segmentation(
    task: SegmentationTask, track: Track | None = None, shard: Shard = ALONE, engine: Engine | None = None
) -> dict[str, Any]:
    """Predict what is still to be predicted, then score everything.

    Writes config.json, episodes.jsonl, predictions.jsonl and metrics.json to `task.out`; the predictions of
    other methods than "ours" get files of their own (`predictions.predictions_file`).

    Args:
        task: what to measure.
        track: shows progress; None shows none.
        shard: this process's place among several that work at the run.
        engine: a network for several runs, from `build_engine`, whose features they share; None builds one.

    Returns:
        What is in metrics.json; nothing from a process that doesn't lead.

    Raises:
        ConfigError: an impossible task, or `task.out` holds another one's run, or another process is at work in it.
        DataError, ImageError: bad data. CheckpointError: bad weights. OutputError: the folder can't be
            written.
    """
    track = track or (lambda items, total, what: iter(items))
    dataset = open_task(task)
    plan = plan_episodes(task, dataset)
    engine = build_engine(task, shard) if engine is None else engine
    matcher = None
    if engine is not None:
        matcher = choose_matcher(task.matcher_choice, task.fold, dataset, plan.classes(dataset), engine.embedder)
        hints = HintKinds(task.support_hint, task.query_hint)
        changes = {"always": plan.knows_presence, **task.options, "matcher": matcher.option}
        engine = replace(engine, hints=hints, seed=plan.seed, changes=changes)
    methods = {name: build_method(name, engine) for name in task.methods}
    config = _config(task, dataset, plan, engine) | {"matcher": None if matcher is None else matcher.to_dict()}
    with held_folder(task.out, task.root, shard.rank):
        if not shard.leads:
            wait_for_files(task.out, (CONFIG, EPISODES))
        claim_run(task.out, config, free=_FREE)
        _keep_episodes(task.out / EPISODES, plan.episodes, dataset)
        predict_run(task.out, methods, dataset, plan.episodes, task.workers, track, shard)
        return score_run(task.out, config, dataset, task.scoring, track) if shard.leads else {}


def build_engine(task: SegmentationTask, shard: Shard = ALONE) -> Engine | None:
    """The network that a task's methods run on; None if none of them needs one.

    Raises:
        CheckpointError: bad weights. ConfigError: no such device.
    """
    if not any(needs_network(name) for name in task.methods):
        return None
    from fewshot_seg.matching.features import FeatureCache
    from fewshot_seg.network.embedding import load_embedder

    embedder = load_embedder(task.weights, device=_device(task.device, shard))
    hints = HintKinds(task.support_hint, task.query_hint)
    return Engine(embedder, hints, task.seed or 0, FeatureCache(task.cache_memory * 2**20), task.options)


def _device(name: str, shard: Shard) -> str:
    """Each of several processes gets a GPU of its own, as far as there are as many."""
    if shard.count == 1 or name not in ("auto", "cuda"):
        return name
    import torch

    gpus = torch.cuda.device_count()
    return f"cuda:{shard.local_rank % gpus}" if gpus else name


def _config(task: SegmentationTask, dataset: SegmentationDataset, plan: Plan, engine: Engine | None) -> dict[str, Any]:
    """Everything that determines the predictions, and where the data was."""
    network: dict[str, Any] = {"weights": None, "device": None, "segmenter": {}}
    if engine is not None:
        options = {name: asdict(engine.options(name)) for name in task.methods if needs_network(name)}
        network = {
            "weights": task.weights,
            "weights_sha256": weights_digest(engine.embedder),
            "embedder": engine.embedder.spec.to_dict(),
            "device": engine.embedder.device.type,
            "segmenter": options,
        }
    return _brought(task, engine) | {
        "run": "segmentation",
        "fewshot_seg": __version__,
        "code_sha256": code_digest(),
        "libraries": libraries(),
        "dataset": dataset.name,
        "root": str(task.root),
        "split_list": None if task.split_list is None else str(task.split_list),
        "fold": task.fold,
        "classes_left_out": plan.left_out,
        "way": plan.way,
        "shot": plan.shot,
        "protocol": task.protocol,
        "episodes": len(plan.episodes),
        "seed": plan.seed,
        "episodes_file": None if task.episodes_file is None else str(task.episodes_file),
        "allow_missing": task.allow_missing,
        "missing_images": len(dataset.missing),
        "left_out": {kind: count for kind, (count, _) in dataset.left_out.items()},
        "resized_masks": len(dataset.resized(plan.images)),
        "methods": list(task.methods),
        "support_hint": task.support_hint,
        "query_hint": task.query_hint,
        "absent": task.absent,
        **network,
    }


def _brought(task: SegmentationTask, engine: Engine | None) -> dict[str, Any]:
    """{"plugins": {name: package}} of what other packages brought to a run; {} if it is all ours."""
    found = versions_of(METHODS, task.methods)
    if engine is not None:
        found |= versions_of(REFINERS, {engine.options(name).refine for name in task.methods if needs_network(name)})
        found |= versions_of(BACKBONES, [engine.embedder.spec.backbone.removeprefix(PLUGIN)])
    return {"plugins": found} if found else {}


def weights_digest(embedder: Embedder) -> str:
    """SHA-256 of the weights: a checkpoint's path may hold others tomorrow."""
    from fewshot_seg.network.weights import digest_of

    return digest_of(embedder.state_dict())


def _keep_episodes(path: Path, episodes: list[Episode], dataset: SegmentationDataset) -> None:
    """Write the episodes, or check that the folder's are these."""
    if not path.exists():
        write_episodes(path, episodes, dataset.class_names)
    elif read_episodes(path, dataset.class_names) != episodes:
        raise ConfigError(f"{describe(path)}: holds other episodes (has the list changed?); change --out")
