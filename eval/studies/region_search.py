"""Is the object of an example found in scenes? Whole images, parts of them, and re-ranked regions, side by side.

Every image whose mask holds one class alone is an example in its turn, and all the other images are the gallery; those
that hold the class are relevant. Average precision is of the whole ranking (images that a method doesn't look at keep
their place after those that it does), without the example itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from eval.episodes.matchers import choose_matcher
from eval.measures.bootstrap import draws, interval
from eval.tables.table import Table, span
from fewshot_seg.datasets import Fold, SegmentationDataset, fold_classes
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.geometry import bounding_box
from fewshot_seg.imaging.images import load_batch
from fewshot_seg.matching.features import FeatureCache
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.supports import Support
from fewshot_seg.retrieval.index import Index
from fewshot_seg.retrieval.regions import CANDIDATES, RegionSearcher, Scored, region_box
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.streams import Track

WHOLE: Final = "whole image to whole images"
OBJECT: Final = "the example's object to whole images"
WINDOWS: Final = "the example's object to nine windows of each image"
FIRST: Final = 10  # of a ranking: for precision, and for boxes

Values = NDArray[np.float64]


@dataclass(frozen=True)
class RegionTask:
    """What is measured.

    Attributes:
        dataset: images with masks.
        embedder: whose vectors.
        candidates: how many images are looked at, a method each.
        told: whether the example's mask is given.
        cache: of features, for galleries that are searched again and again.
        samples: of the bootstrap over examples.
    """

    dataset: SegmentationDataset
    embedder: Embedder
    candidates: Sequence[int] = (CANDIDATES,)
    told: bool = False
    cache: FeatureCache = field(default_factory=lambda: FeatureCache(2**30))
    samples: int = 1000


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        labels: (E,) the examples' classes.
        images: in the gallery, the example among them.
        figures: method -> (E, 2): average precision, and precision among the first ten.
        boxes: (n, 2) of the right regions among the first ten: how well the box fits the object's (intersection over
            union), and how well the whole image would.
    """

    labels: NDArray[np.int64]
    images: int
    figures: Mapping[str, Values]
    boxes: Values

    def table(self, samples: int = 1000) -> Table:
        """For people: means over classes, with 95 % intervals of the difference from whole images."""
        rows = []
        for name, values in self.figures.items():
            cells = [
                f"{100 * mean:.1f}" if name == WHOLE else span(f"{100 * mean:.1f}", ends, "+")
                for mean, ends in zip(
                    _over_classes(values, self.labels), self._differences(values, samples), strict=True
                )
            ]
            rows.append((name, *cells))
        fits = self.boxes.mean(0) if len(self.boxes) else np.zeros(2)
        counts = f"{len(self.labels)} examples of {len(set(self.labels.tolist()))} classes, {self.images} images"
        right = f"the {len(self.boxes)} right regions among the first {FIRST}"
        notes = (
            f"{counts}; in brackets the difference from the first row, 95 % interval over examples.",
            f"Boxes of {right}: mean IoU {100 * fits[0]:.1f}; of the whole image as the box {100 * fits[1]:.1f}.",
        )
        columns = ("compared", "mean average precision", f"precision at {FIRST}")
        return Table("Scenes that hold the example's object", columns, tuple(rows), notes)

    def _differences(self, values: Values, samples: int) -> list[list[float] | None]:
        change = values - self.figures[WHOLE]
        drawn = [_over_classes(change, self.labels, w) for block in draws(len(change), samples, 0) for w in block]
        return [interval(part) for part in np.stack(drawn, 1)]


def run_region_search(task: RegionTask, track: Track) -> Found:
    """Measure all methods. A class's examples are matched by a matcher that never saw its masks, where there is one.

    Raises:
        ConfigError: no image holds one class alone. FewShotError: an image or a mask can't be read.
    """
    data = task.dataset
    ids = list(dict.fromkeys(entry.image for entry in data.entries))
    classes = [data.labels(one) for one in ids]
    examples = [place for place, labels in enumerate(classes) if len(labels) == 1]
    if not examples:
        raise ConfigError(f"{data.name}: no image here holds one class alone, so there is no example")
    index = Index.build([data.image(one) for one in ids], task.embedder, progress=track)
    windows = torch.stack(list(track(_windows(task, ids), len(ids), "windows")))  # (N,W,D)
    searchers = _Searchers(task, index)
    examples.sort(key=lambda place: str(_fold_of(data, min(classes[place]))))  # one matcher's features at a time
    figures: dict[str, list[tuple[float, float]]] = {}
    labels, boxes = [], []
    for place in track(examples, len(examples), "searching"):
        (label,) = classes[place]
        relevant = np.array([label in held for held in classes])
        if relevant.sum() < 2:
            continue
        labels.append(label)
        rankings, looked_at = _rankings(task, index, windows, searchers.of(label), place, ids[place], label)
        for name, ranking in rankings.items():
            right = relevant[ranking[ranking != place]]
            figures.setdefault(name, []).append((average_precision(right), float(right[:FIRST].mean())))
        first = [one for one in looked_at if one.row != place][:FIRST]
        boxes += [_fit(data, ids[one.row], label, one) for one in first if relevant[one.row]]
    found = {name: np.array(values) for name, values in figures.items()}
    return Found(np.array(labels), len(ids), found, np.array(boxes).reshape(-1, 2))


class _Searchers:
    """A searcher for each fold, whose matcher never saw its classes' masks."""

    def __init__(self, task: RegionTask, index: Index) -> None:
        self._task, self._index = task, index
        self._made: dict[str, RegionSearcher] = {}

    def of(self, label: int) -> RegionSearcher:
        task = self._task
        fold = _fold_of(task.dataset, label)
        names = [task.dataset.class_names[one - 1] for one in fold_classes(task.dataset, fold)]
        matcher = choose_matcher("auto", fold, task.dataset, names, task.embedder).option
        if matcher not in self._made:
            self._made[matcher] = self._index.region_searcher(SegmenterOptions(matcher=matcher), task.cache)
        return self._made[matcher]


def _fold_of(dataset: SegmentationDataset, label: int) -> Fold:
    folds = (fold for fold, held_out in enumerate(dataset.folds) if label in held_out)
    return next(folds, "all")


def _rankings(
    task: RegionTask,
    index: Index,
    windows: torch.Tensor,
    searcher: RegionSearcher,
    place: int,
    image_id: str,
    label: int,
) -> tuple[dict[str, NDArray[np.int64]], list[Scored]]:
    """Every method's order of all rows, and what the last one looked at, best first."""
    image = task.dataset.image(image_id)
    example = Support(image, mask=task.dataset.mask(image_id) == label) if task.told else Support(image)
    wanted = searcher.prepare(example)
    vectors = torch.from_numpy(np.asarray(index.vectors))  # (N,D)
    by_object = (vectors @ wanted.vector.cpu()).numpy()
    rankings = {
        WHOLE: _order((vectors @ vectors[place]).numpy()),
        OBJECT: _order(by_object),
        WINDOWS: _order((windows @ wanted.vector.cpu()).amax(1).numpy()),
    }
    rows = _order(by_object)[: max(task.candidates)]
    scored = [one for one in searcher.look_at(rows.tolist(), wanted) if one is not None]
    best: list[Scored] = []
    for count in task.candidates:
        chosen = set(rows[:count].tolist())
        best = sorted((one for one in scored if one.row in chosen), key=lambda one: (-one.score, one.row))
        rest = rankings[OBJECT][[row not in chosen for row in rankings[OBJECT].tolist()]]
        rankings[f"{count} of these looked at"] = np.concatenate([[one.row for one in best], rest]).astype(np.int64)
    return rankings, best


@torch.inference_mode()
def _windows(task: RegionTask, ids: Iterable[str]) -> Iterator[torch.Tensor]:
    """(9,D) of each image: the head on windows of half a side, which overlap by half."""
    for one in ids:
        feature_map = task.embedder(load_batch([task.dataset.image(one)], task.embedder)).feature_map
        side = min(feature_map.shape[2:]) // 2 or 1
        step = max(1, side // 2)
        parts = F.unfold(feature_map, side, stride=step)  # (1,C*side*side,W)
        tiles = parts[0].T.reshape(-1, feature_map.shape[1], side, side)
        yield task.embedder.head(tiles).float().cpu()


def average_precision(right: NDArray[np.bool_]) -> float:
    """The mean, over the relevant, of the precision at their places in a ranking (N,) of which they all are part."""
    ranks = np.flatnonzero(right) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def box_iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0.0, across) * max(0.0, down)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def _fit(dataset: SegmentationDataset, image_id: str, label: int, one: Scored) -> tuple[float, float]:
    """How well a region's box fits the object's, and how well the whole image would."""
    height, width = one.size
    truth = bounding_box(dataset.mask(image_id) == label)
    return box_iou(region_box(one.located.maps[0], one.size), truth), box_iou((0, 0, width, height), truth)


def _order(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows by falling score, the lower row first among equals."""
    return np.argsort(-scores, kind="stable")


def _over_classes(values: Values, labels: NDArray[np.int64], weights: NDArray[np.int64] | None = None) -> Values:
    """(2,) the mean over classes of the means (E,2) of their examples, each counted `weights` times."""
    counts = np.ones(len(labels), np.int64) if weights is None else weights
    there = [label for label in np.unique(labels) if counts[labels == label].sum()]
    means = [np.average(values[labels == label], axis=0, weights=counts[labels == label]) for label in there]
    return np.asarray(np.mean(means, axis=0))
