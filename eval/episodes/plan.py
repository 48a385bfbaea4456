"""Which episodes a run consists of: drawn by a protocol, or replayed from a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eval.episodes.absent import with_absent
from fewshot_seg.datasets import SegmentationDataset, fold_classes
from fewshot_seg.episodes.episode import Episode, read_episode_list
from fewshot_seg.episodes.protocols import build_protocol, draw_episodes, small_classes
from fewshot_seg.errors import ConfigError, DataError, describe

if TYPE_CHECKING:
    from eval.episodes.segmentation import SegmentationTask

__all__ = ["Plan", "plan_episodes", "round_length"]


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

    def classes(self, dataset: SegmentationDataset) -> tuple[str, ...]:
        """Names of the classes that episodes are of, in the data set's order."""
        labels = sorted({label for one in self.episodes for label in one.classes})
        return tuple(dataset.class_names[label - 1] for label in labels)


def plan_episodes(task: SegmentationTask, dataset: SegmentationDataset) -> Plan:
    """The task's episodes.

    Raises:
        ConfigError: an impossible number. DataError: too few images, or a bad file of episodes.
    """
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
