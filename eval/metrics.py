"""Segmentation metrics, from counts that add up: over episodes, shards and runs the sums are exact integers.

All of them come from one confusion matrix an episode. Class mean IoU and FB-IoU are HSNet's (Min, Kang, Cho,
ICCV 2021): intersections and unions are summed over all episodes before anything is divided. Void pixels of
the truth count for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets import VOID
from fewshot_seg.errors import ShapeError

__all__ = ["SegmentationScore", "confusion", "episode_truth"]

IGNORED = -1

Counts = NDArray[np.int64]


def episode_truth(labels: NDArray[Any], classes: Sequence[int], void: int = VOID) -> NDArray[np.int16]:
    """A data set's labels as an episode sees them: its own classes; every other one is background.

    Args:
        labels: (H, W), the data set's class numbers, from 0; `void` wherever nothing counts.
        classes: the episode's, in its order.
        void: the label to be ignored.

    Returns:
        (H, W) int16: 0 background, i + 1 for classes[i], -1 void.
    """
    table = np.zeros(max(int(labels.max(initial=0)), void, *classes) + 1, np.int16)
    table[list(classes)] = np.arange(1, len(classes) + 1)
    table[void] = IGNORED
    return np.asarray(table[labels])


def confusion(prediction: NDArray[Any], truth: NDArray[Any], ways: int) -> Counts:
    """How often each truth meets each prediction.

    Args:
        prediction: (H, W) integers 0..ways.
        truth: (H, W) integers 0..ways, or below 0 where nothing counts.
        ways: number of classes.

    Returns:
        (ways + 1, ways + 1) int64: rows truth, columns prediction, background first.

    Raises:
        ShapeError: prediction and truth of different sizes.
        ValueError: a label above `ways`, or a negative one in the prediction.
    """
    if prediction.shape != truth.shape or truth.ndim != 2:
        raise ShapeError(f"prediction {prediction.shape} and truth {truth.shape} must be (H, W) of one size")
    if prediction.size and (prediction.min() < 0 or max(prediction.max(), truth.max()) > ways):
        raise ValueError(f"labels go from 0 to {ways}")
    side = ways + 1
    valid = truth >= 0
    pairs = truth[valid].astype(np.int64) * side + prediction[valid]
    return np.bincount(pairs, minlength=side * side).reshape(side, side).astype(np.int64)


@dataclass(eq=False)
class SegmentationScore:
    """Sums over episodes, and the metrics of them. Scores of parts of a run merge into the score of the run.

    Attributes:
        classes: the class numbers that episodes may hold.
        episodes: how many were added.
        intersection, union: (C,) int64 pixels, in the order of `classes`.
        background, foreground: (2,) int64, intersection and union; all classes are one foreground.
    """

    classes: tuple[int, ...]
    episodes: int = 0
    intersection: Counts = field(init=False)
    union: Counts = field(init=False)
    background: Counts = field(init=False)
    foreground: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.intersection = np.zeros(len(self.classes), np.int64)
        self.union = np.zeros(len(self.classes), np.int64)
        self.background = np.zeros(2, np.int64)
        self.foreground = np.zeros(2, np.int64)

    def add(self, counts: Counts, classes: Sequence[int]) -> None:
        """Add one episode: its `confusion` (N+1, N+1), and its N classes in the same order."""
        places = [self.classes.index(label) for label in classes]
        both = counts.diagonal()
        either = counts.sum(0) + counts.sum(1) - both
        self.intersection[places] += both[1:]
        self.union[places] += either[1:]
        self.background += (both[0], either[0])
        self.foreground += (counts[1:, 1:].sum(), counts.sum() - both[0])
        self.episodes += 1

    def merge(self, other: SegmentationScore) -> SegmentationScore:
        """The score of both together.

        Raises:
            ValueError: they are of different classes.
        """
        if other.classes != self.classes:
            raise ValueError(f"scores of classes {self.classes} and {other.classes} don't add up")
        merged = SegmentationScore(self.classes, self.episodes + other.episodes)
        for name in ("intersection", "union", "background", "foreground"):
            setattr(merged, name, getattr(self, name) + getattr(other, name))
        return merged

    @property
    def per_class(self) -> dict[int, float]:
        """IoU in [0, 1] of every class that was in an episode's truth or prediction."""
        seen = np.flatnonzero(self.union)
        return {self.classes[place]: float(self.intersection[place] / self.union[place]) for place in seen}

    @property
    def miou(self) -> float:
        """Mean of `per_class`; NaN where there is none."""
        return _mean(self.per_class.values())

    @property
    def fb_iou(self) -> float:
        """FB-IoU: mean of background's and foreground's IoU, all classes being one foreground."""
        return _mean(_ratios(self.background, self.foreground))

    @property
    def binary_iou(self) -> float:
        """The paper's binary IoU, as its peers' code counts it (PANet, `get_mIoU_binary`; PL before it).

        Like FB-IoU, but the foreground's intersection and union are the classes' own, summed: a pixel given
        to the wrong class is an error. In 1-way episodes the two are the same.
        """
        summed = np.array([self.intersection.sum(), self.union.sum()])
        return _mean(_ratios(self.background, summed))

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """What metrics.json holds of a score: shares in [0, 1], None for what is undefined."""
        means: Mapping[str, float] = {"miou": self.miou, "fb_iou": self.fb_iou, "binary_iou": self.binary_iou}
        per_class = {class_names[label - 1]: iou for label, iou in self.per_class.items()}
        plain = {name: None if math.isnan(value) else value for name, value in means.items()}
        return {**plain, "per_class": per_class, "episodes": self.episodes}


def _ratios(*pairs: Counts) -> list[float]:
    """Intersection over union of each pair, without those whose union is empty."""
    return [float(pair[0] / pair[1]) for pair in pairs if pair[1]]


def _mean(values: Any) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan
