"""One query and one support by default, beside the textbook's pipeline: attention, then GrabCut at full size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from eval.bench.findings import FASTER, Finding, Target, find
from eval.bench.setting import Setting, split_list
from eval.bench.timing import side_by_side
from eval.episodes.matchers import choose_matcher
from eval.episodes.methods import Engine, Method, Prediction, build_method
from eval.episodes.plan import SegmentationTask, plan_episodes
from eval.measures.metrics import SegmentationScore, confusion, episode_truth
from fewshot_seg.datasets import SegmentationDataset, open_dataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.network.embedding import Embedder, load_embedder

OURS, OTHER = "one query, one support, default quality", "attention, GrabCut at full size, 5 iterations"
TARGET: Final = Target(FASTER, 8)

TEXTBOOK: Final[Mapping[str, Any]] = {
    "refine": "grabcut",
    "keep": 0.0,
    "grabcut": {"iterations": 5, "working_size": 4096},
}
"""What the textbook's pipeline changes of the method "attention": the mask is whatever GrabCut makes of the image."""

_FOLDS: Final = (0, 1, 2, 3)


class _Case(NamedTuple):
    episode: Episode
    fold: int


def compare_textbook(setting: Setting, folder: Path) -> list[Finding]:
    """Pairs of query and support of all folds, other ones in each round; images are read and encoded each time.

    Each fold's masks are found by the matcher that never saw the fold's classes, so that the mean IoU is honest.

    Raises:
        ConfigError: no root. DataError: too few images in it.
    """
    if setting.root is None:
        raise ConfigError("the textbook's pipeline is compared on images with masks: give --root")
    dataset = open_dataset("pascal5i", setting.root, split_list(setting.root))
    embedder = load_embedder(setting.weights, setting.device)
    cases = _cases(setting, dataset)
    ours = {fold: _ours(setting, dataset, embedder, fold) for fold in {one.fold for one in cases}}
    attention = build_method("attention", Engine(embedder, changes={**TEXTBOOK, "always": True}))
    methods: dict[str, Callable[[_Case], Method]] = {OTHER: lambda case: attention, OURS: lambda case: ours[case.fold]}
    found: dict[str, dict[int, Prediction]] = {name: {} for name in methods}
    rounds = [cases[number :: setting.rounds] for number in range(setting.rounds)]
    rounds = [one[: min(map(len, rounds))] for one in rounds]  # as many in each

    def variant(name: str) -> Callable[[], None]:
        turns: Iterator[list[_Case]] = itertools.chain([rounds[0][:1]], rounds)  # the warm-up: one pair

        def run() -> None:
            for case in next(turns):
                found[name][case.episode.index] = methods[name](case)(dataset, case.episode)

        return run

    variants = {name: variant(name) for name in methods}
    other, own = side_by_side(variants, len(rounds[0]), setting.rounds, setting.track)
    done = [one.episode for part in rounds for one in part]
    scores = {name: _miou(dataset, done, found[name]) for name in methods}
    note = f"class mean IoU of {len(done)} pairs {100 * scores[OURS]:.1f}, the textbook's {100 * scores[OTHER]:.1f}"
    facts = {"miou": scores[OURS], "textbook_miou": scores[OTHER], "pairs": len(done), "note": note}
    return [find(OURS, OTHER, f"{len(rounds[0])} pairs", (other, own), TARGET, **facts)]


def _cases(setting: Setting, dataset: SegmentationDataset) -> list[_Case]:
    """The folds in turn, so that every round has some of each."""
    groups: list[list[_Case]] = []
    reason: Exception | None = None
    for fold in _FOLDS:
        try:
            drawn = plan_episodes(_task(setting, fold, episodes=setting.pairs), dataset).episodes
        except (ConfigError, DataError) as error:  # too few images of this fold
            reason = error
            continue
        groups.append([_Case(one, fold) for one in drawn])
    cases = [one for together in zip(*groups, strict=True) for one in together][: setting.pairs]
    if not cases:
        raise DataError(f"no fold has enough images: {reason}")
    if len(cases) < setting.rounds:
        raise ConfigError(f"{len(cases)} pairs for {setting.rounds} rounds: give at least one for each")
    return [_Case(replace(one.episode, index=number), one.fold) for number, one in enumerate(cases)]


def _ours(setting: Setting, dataset: SegmentationDataset, embedder: Embedder, fold: int) -> Method:
    classes = [dataset.class_names[label - 1] for label in dataset.folds[fold]]
    matcher = choose_matcher("auto", fold, dataset, classes, embedder).option
    return build_method("ours", Engine(embedder, changes={"always": True, "matcher": matcher}))


def _task(setting: Setting, fold: int, episodes: int | None = None) -> SegmentationTask:
    assert setting.root is not None
    return SegmentationTask(setting.root, Path(), fold=fold, episodes=episodes, skip_small_classes=True)


def _miou(dataset: SegmentationDataset, episodes: list[Episode], found: Mapping[int, Prediction]) -> float:
    score = SegmentationScore(tuple(sorted({label for one in episodes for label in one.classes})))
    for one in episodes:
        truth = episode_truth(dataset.mask(one.query), one.classes)
        score.add(confusion(found[one.index].labels, truth, len(one.classes)), one.classes)
    return score.miou
