"""Segmentation metrics, from counts that add up: over episodes, shards and runs the sums are exact integers.

All of them come from one confusion matrix an episode. Class mean IoU and FB-IoU are HSNet's (Min, Kang, Cho,
ICCV 2021): intersections and unions are summed over all episodes before anything is divided. Void pixels of
the truth count for nothing. `SegmentationScore` accumulates; below it stands the same as functions of arrays
with any leading axes, which is what a bootstrap needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets import VOID
from fewshot_seg.errors import ShapeError

IGNORED = -1

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]

MEANS = ("miou", "fb_iou", "binary_iou")
"""The names of the three means, as `means` and metrics.json give them."""


def episode_truth(labels: NDArray[Any], classes: Sequence[int], void: int = VOID) -> NDArray[np.int16]:
    """A data set's labels as an episode sees them: its own classes; every other one is background.

    Args:
        labels: (H, W), the data set's class numbers, from 0; `void` wherever nothing counts.
        classes: the episode's, in its order.
        void: the label to be ignored.

    Returns:
        (H, W) int16: 0 background, i + 1 for classes[i], -1 void.
    """
    truth = np.zeros(labels.shape, np.int16)
    for number, label in enumerate(classes, start=1):
        truth[labels == label] = number
    truth[labels == void] = IGNORED
    return truth


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


class Tally(NamedTuple):
    """Pixels that add up. The leading axes (...) are free: (E,) episodes, (B,) resamples, or none for a sum.

    Attributes:
        intersection, union: (..., C) of each class.
        background, foreground: (..., 2), intersection and union; all classes are one foreground.
    """

    intersection: NDArray[Any]
    union: NDArray[Any]
    background: NDArray[Any]
    foreground: NDArray[Any]


def episode_tallies(labels: Counts, counts: Counts, classes: Sequence[int]) -> Tally:
    """Each episode's own tally.

    Args:
        labels: (E, N) the episodes' class numbers; 0 where an episode has fewer than N.
        counts: (E, N+1, N+1) their `confusion`, zeros where an episode has fewer than N classes.
        classes: the C class numbers that count, which must hold all of `labels`.

    Returns:
        int64, with C = len(classes) and leading axes (E,).

    Raises:
        ValueError: a label that isn't in `classes`.
    """
    both = np.einsum("enn->en", counts)  # (E, N+1)
    either = counts.sum(1) + counts.sum(2) - both
    episodes, ways = np.nonzero(labels)
    places = _places(labels[episodes, ways], classes)
    parts = np.zeros((2, len(labels), len(classes)), np.int64)
    parts[0, episodes, places] = both[episodes, ways + 1]
    parts[1, episodes, places] = either[episodes, ways + 1]
    total = counts.sum((1, 2))
    background = np.stack([both[:, 0], either[:, 0]], axis=1)
    foreground = np.stack([counts[:, 1:, 1:].sum((1, 2)), total - both[:, 0]], axis=1)
    return Tally(parts[0], parts[1], background, foreground)


def where_present(counts: Counts) -> Counts:
    """The confusions without what is wrongly given to classes that the truth lacks, as PANet's code counts.

    Its `Metric.record` passes over an episode's class, and the background, wherever the query's truth holds
    none of it. A column is emptied then, so the pixels in it stay misses of the class that they are of.

    Args:
        counts: (..., N+1, N+1).

    Returns:
        (..., N+2, N+2): what was emptied stands in a last column, which no class reads.
    """
    lacks = counts.sum(-1, keepdims=True).swapaxes(-1, -2) == 0  # (..., 1, N+1): of the columns
    side = counts.shape[-1] + 1
    moved = np.zeros((*counts.shape[:-2], side, side), np.int64)
    moved[..., :-1, :-1] = np.where(lacks, 0, counts)
    moved[..., :-1, -1] = np.where(lacks, counts, 0).sum(-1)
    return moved


def class_iou(tally: Tally) -> Shares:
    """(..., C): IoU in [0, 1] of each class; NaN where it is in neither truth nor prediction."""
    return _share(tally.intersection, tally.union)


def mean_iou(tally: Tally) -> Shares:
    """(...): mean of the classes' IoU; NaN where there is none."""
    return _mean(class_iou(tally))


def fb_iou(tally: Tally) -> Shares:
    """(...): mean of background's and foreground's IoU, all classes being one foreground."""
    pairs = np.stack([tally.background, tally.foreground], axis=-2)  # (..., 2, 2)
    return _mean(_share(pairs[..., 0], pairs[..., 1]))


def binary_iou(tally: Tally) -> Shares:
    """(...): the paper's binary IoU, after PL and PANet (`get_mIoU_binary`).

    Like FB-IoU, but the foreground's intersection and union are the classes' own, summed: a pixel given to
    the wrong class is an error. In 1-way episodes the two are the same.
    """
    summed = np.stack([tally.intersection.sum(-1), tally.union.sum(-1)], axis=-1)
    pairs = np.stack([tally.background, summed], axis=-2)
    return _mean(_share(pairs[..., 0], pairs[..., 1]))


def means(tally: Tally) -> dict[str, Shares]:
    """Name -> (...), in the order of `MEANS`."""
    return {"miou": mean_iou(tally), "fb_iou": fb_iou(tally), "binary_iou": binary_iou(tally)}


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
        self.add_all(np.array([classes]), counts[None])

    def add_all(self, labels: Counts, counts: Counts) -> None:
        """Add E episodes; arguments as `episode_tallies` takes them."""
        tallies = episode_tallies(labels, counts, self.classes)
        for name, part in tallies._asdict().items():
            setattr(self, name, getattr(self, name) + part.sum(0))
        self.episodes += len(labels)

    def merge(self, other: SegmentationScore) -> SegmentationScore:
        """The score of both together. ValueError: they are of different classes."""
        if other.classes != self.classes:
            raise ValueError(f"scores of classes {self.classes} and {other.classes} don't add up")
        merged = SegmentationScore(self.classes, self.episodes + other.episodes)
        for name in Tally._fields:
            setattr(merged, name, getattr(self, name) + getattr(other, name))
        return merged

    @property
    def tally(self) -> Tally:
        """The sums."""
        return Tally(self.intersection, self.union, self.background, self.foreground)

    @property
    def per_class(self) -> dict[int, float]:
        """IoU in [0, 1] of every class that was in an episode's truth or prediction."""
        ious = class_iou(self.tally)
        return {self.classes[place]: float(ious[place]) for place in np.flatnonzero(self.union)}

    @property
    def miou(self) -> float:
        """See `mean_iou`."""
        return float(mean_iou(self.tally))

    @property
    def fb_iou(self) -> float:
        """See `fb_iou`."""
        return float(fb_iou(self.tally))

    @property
    def binary_iou(self) -> float:
        """See `binary_iou`."""
        return float(binary_iou(self.tally))

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """What metrics.json holds of a score: shares in [0, 1], None for what is undefined."""
        values: Mapping[str, float] = {name: float(value) for name, value in means(self.tally).items()}
        per_class = {class_names[label - 1]: iou for label, iou in self.per_class.items()}
        plain = {name: None if math.isnan(value) else value for name, value in values.items()}
        return {**plain, "per_class": per_class, "episodes": self.episodes}


def _places(labels: Counts, classes: Sequence[int]) -> NDArray[np.intp]:
    order = np.argsort(classes)
    known = np.asarray(classes, np.int64)[order]
    found = np.searchsorted(known, labels).clip(max=max(len(known) - 1, 0))
    if len(labels) and (not len(known) or (known[found] != labels).any()):
        raise ValueError(f"episodes of classes that aren't among {tuple(classes)}")
    return order[found] if len(labels) else found.astype(np.intp)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Shares:
    """part / whole; NaN where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0))


def _mean(values: Shares) -> Shares:
    """Over the last axis (never empty of axes), without NaN; NaN where nothing is left."""
    there = ~np.isnan(values)
    return _share(np.where(there, values, 0).sum(-1), there.sum(-1))
