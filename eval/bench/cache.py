"""Episodes of one fold with the features of their images kept, beside features made anew for each episode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eval.bench.episodes import bench_episodes
from eval.bench.findings import FASTER, Finding, Target, find
from eval.bench.setting import Setting, split_list
from eval.episodes.matchers import choose_matcher
from eval.episodes.methods import Engine
from eval.episodes.plan import SegmentationTask, plan_episodes
from fewshot_seg.datasets import open_dataset
from fewshot_seg.errors import ConfigError
from fewshot_seg.network.embedding import load_embedder

TARGET: Final = Target(FASTER, 5)
METHODS: Final = ("ours", "no-grabcut")


def compare_cache(
    setting: Setting, folder: Path, fold: int = 0, shots: int = 5, methods: Sequence[str] = METHODS
) -> list[Finding]:
    """1-way episodes of a fold by several methods: what kept features save is the same for each, what is left is not.

    Raises:
        ConfigError: no root. DataError: too few images in it.
    """
    if setting.root is None:
        raise ConfigError("episodes are drawn from images with masks: give --root")
    dataset = open_dataset("pascal5i", setting.root, split_list(setting.root))
    task = SegmentationTask(
        setting.root, Path(), fold=fold, shot=shots, episodes=setting.cached, skip_small_classes=True
    )
    plan = plan_episodes(task, dataset)
    embedder = load_embedder(setting.weights, setting.device)
    matcher = choose_matcher("auto", fold, dataset, plan.classes(dataset), embedder).option
    engine = Engine(embedder, seed=plan.seed, changes={"always": True, "matcher": matcher})
    findings = []
    for name in methods:
        result = bench_episodes(
            engine,
            (name,),
            dataset,
            plan.episodes,
            limit_bytes=setting.limit_mib * 2**20,
            rounds=setting.few_rounds,
            track=setting.track,
        )
        without, kept = result.timings
        images, differing = (result.facts[key] for key in ("images", "differing_predictions"))
        note = f"{images} images in {len(plan.episodes)} episodes; predictions that differ: {differing}"
        path, items = f"episodes of a fold by {name!r}, features kept", f"{len(plan.episodes)} episodes, {shots}-shot"
        facts = {"images": images, "differing": differing, "note": note}
        findings.append(find(path, "features made anew", items, (without, kept), TARGET, **facts))
    return findings
