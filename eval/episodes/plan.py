"""What a segmentation run measures, and which episodes it consists of: drawn by a protocol, or replayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from eval.episodes.absent import with_absent
from eval.episodes.hints import HINTS
from eval.episodes.scoring import Scoring, main_method
from fewshot_seg.datasets import Fold, SegmentationDataset, fold_classes, open_dataset
from fewshot_seg.episodes.episode import Episode, read_episode_list
from fewshot_seg.episodes.protocols import PROTOCOLS, build_protocol, draw_episodes
from fewshot_seg.episodes.protocols.base import small_classes
from fewshot_seg.errors import ConfigError, DataError, describe


@dataclass(frozen=True)
class SegmentationTask:
    """What is measured.

    Attributes:
        root: the data set's folder.
        out: the run's folder.
        dataset: a name from `datasets.dataset_names`.
        split_list: which entries count; None means all that the masks hold.
        fold: the classes; "all" for development.
        way, shot: N classes an episode, K supports a class.
        protocol: a name of `protocols.PROTOCOLS`.
        episodes: how many; None means as many as the protocol is made of.
        seed: of the episodes, and of the segmenter; None means the protocol's own.
        episodes_file: replays these episodes (`episodes.read_episode_list`) instead of drawing any; then ways,
            shots and classes are what stands there, and the protocol says no more than how to score.
        allow_missing: leave out what the list names but the folder lacks, instead of refusing.
        strict: refuse data of which anything must be left out or brought to another size.
        methods: names from `methods.METHODS`, on the same episodes; the run's own figures are those of
            "ours", else of the first.
        support_hint, query_hint: kinds of hints (`episodes.hints.HINTS`), made from masks, that the segmenter gets of
            supports and of queries; None for none.
        matcher: as `eval.episodes.matchers.choose_matcher` takes it.
        absent: after each episode comes a query that shows none of its classes (`episodes.absent`), and objects
            may count as absent.
        weights, device: as `load_embedder` takes them.
        skip_small_classes: leave out classes with fewer than shot + 1 images, instead of refusing.
        workers: episodes at a time; None means the machine's processors, but at most 8. Results don't depend
            on it.
        cache_memory: MiB that features may take, of the memory of the device that the network is on.
        scoring: how predictions are scored.
        options: changes of the segmenter's default options, as `SegmenterOptions.from_dict` takes them.
    """

    root: Path
    out: Path
    dataset: str = "pascal5i"
    split_list: Path | None = None
    fold: Fold = 0
    way: int = 1
    shot: int = 1
    protocol: str = "hsnet"
    episodes: int | None = None
    seed: int | None = None
    episodes_file: Path | None = None
    allow_missing: bool = False
    strict: bool = False
    methods: tuple[str, ...] = ("ours",)
    support_hint: str | None = None
    query_hint: str | None = None
    matcher: str = "auto"
    absent: bool = False
    weights: str = "default"
    device: str = "auto"
    skip_small_classes: bool = False
    workers: int | None = None
    cache_memory: int = 1024
    scoring: Scoring = field(default_factory=Scoring)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ConfigError(f"unknown protocol {self.protocol!r}: choose {', '.join(PROTOCOLS)}")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods {list(self.methods)}: name at least one, and each once")
        for hint in (self.support_hint, self.query_hint):
            if hint is not None and hint not in HINTS:
                raise ConfigError(f"unknown hint {hint!r}: choose {', '.join(HINTS)}")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers {self.workers}: must be at least 1")
        if self.cache_memory < 0:
            raise ConfigError(f"cache memory {self.cache_memory}: must be a number of MiB, or 0 for none")

    @property
    def main_method(self) -> str:
        """The method whose figures are the run's own."""
        return main_method(self.methods)

    @property
    def matcher_choice(self) -> str:
        """`matcher`, or the option of that name."""
        return str(self.options.get("matcher", self.matcher))


@dataclass(frozen=True)
class Plan:
    """What is to be predicted.

    Attributes:
        episodes: numbered from 0.
        way, shot: the most classes of an episode, and the most supports of a class.
        seed: of the protocol and the segmenter.
        left_out: names of the classes that have too few images.
        knows_presence: whether the protocol says that each query shows all that is looked for. So it is with one
            class and no absent queries; the segmenter is then told so (`SegmenterOptions.always`).
    """

    episodes: list[Episode]
    way: int
    shot: int
    seed: int
    left_out: list[str]
    knows_presence: bool = True

    @property
    def images(self) -> Iterator[str]:
        """Ids of the images of all episodes; one may come again."""
        for one in self.episodes:
            yield one.query
            yield from chain.from_iterable(one.supports.values())

    def classes(self, dataset: SegmentationDataset) -> tuple[str, ...]:
        """Names of the classes that episodes are of, in the data set's order."""
        labels = sorted({label for one in self.episodes for label in one.classes})
        return tuple(dataset.class_names[label - 1] for label in labels)


def plan_episodes(task: SegmentationTask, dataset: SegmentationDataset) -> Plan:
    """The task's episodes. ConfigError: an impossible number. DataError: too few images, or a bad file of episodes."""
    plan = _replayed(task, dataset) if task.episodes_file is not None else _drawn(task, dataset)
    if not task.absent:
        return plan
    return replace(plan, episodes=with_absent(plan.episodes, dataset, plan.seed), knows_presence=False)


def _drawn(task: SegmentationTask, dataset: SegmentationDataset) -> Plan:
    classes, left_out = _classes(task, dataset)
    protocol = build_protocol(task.protocol, dataset, classes, task.shot, task.way, task.seed)
    return Plan(draw_episodes(protocol, task.episodes), task.way, task.shot, protocol.seed, left_out, task.way == 1)


def round_length(task: SegmentationTask, dataset: SegmentationDataset) -> int:
    """How many entries the list has of the task's classes: so many hsnet episodes take each as the query once.

    Raises:
        DataError: no class has enough images.
    """
    classes = set(_classes(task, dataset)[0])
    return sum(entry.label in classes for entry in dataset.entries)


def _replayed(task: SegmentationTask, dataset: SegmentationDataset) -> Plan:
    """The first `task.episodes` of the file; ways, shots and classes are what stands there."""
    assert task.episodes_file is not None
    if task.episodes is not None and task.episodes < 1:
        raise ConfigError(f"episodes {task.episodes}: must be at least 1")
    episodes = read_episode_list(task.episodes_file, dataset)
    if task.episodes is not None and task.episodes > len(episodes):
        what = f"{len(episodes)} episodes, but {task.episodes} are asked for"
        raise ConfigError(f"{describe(task.episodes_file)}: {what}; lower --episodes, or leave it out")
    episodes = episodes[: task.episodes]
    _check_fold(episodes, task, dataset)
    way = max(len(one.classes) for one in episodes)
    shot = max(len(images) for one in episodes for images in one.supports.values())
    return Plan(episodes, way, shot, task.seed or 0, [], way == 1)


def _check_fold(episodes: list[Episode], task: SegmentationTask, dataset: SegmentationDataset) -> None:
    """Figures are told by fold: a list of other classes would stand beside those of this one."""
    inside = fold_classes(dataset, task.fold)
    outside = sorted({label for one in episodes for label in one.classes}.difference(inside))
    if outside:
        what = f"{dataset.class_names[outside[0] - 1]!r} is not in fold {task.fold}"
        raise ConfigError(f"{describe(task.episodes_file)}: {what}; give the fold that the list is of, or 'all'")


def _classes(task: SegmentationTask, dataset: SegmentationDataset) -> tuple[tuple[int, ...], list[str]]:
    """The classes to draw from, and the names of those left out for having too few images."""
    classes = fold_classes(dataset, task.fold)
    if not task.skip_small_classes:
        return classes, []
    small = small_classes(dataset, classes, task.shot)
    if len(small) == len(classes):
        raise DataError(f"no class of fold {task.fold} has the {task.shot + 1} images that an episode needs")
    kept = tuple(label for label in classes if label not in small)
    return kept, [dataset.class_names[label - 1] for label in small]


def open_task(task: SegmentationTask) -> SegmentationDataset:
    """The data set of a task; see `open_dataset`."""
    missing, strict = task.allow_missing, task.strict
    return open_dataset(task.dataset, task.root, task.split_list, allow_missing=missing, strict=strict)
