"""How well a matcher finds classes that it never saw: at the resolution of its map, without GrabCut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fewshot_seg.datasets import VOID
from fewshot_seg.errors import ConfigError
from fewshot_seg.matching.matcher import Matcher
from fewshot_seg.matching.rounds import Prior, match
from train_embed.matcher.data import TrainingData

_BATCH = 16
_SEED = 0
_THRESHOLD = 0.5


class Setting(NamedTuple):
    """What a query is given."""

    shots: int
    masks: bool

    def __str__(self) -> str:
        """For a table."""
        return f"{self.shots}-shot, {'masks' if self.masks else 'no masks'}"


SETTINGS = (Setting(1, False), Setting(1, True), Setting(5, False))


@dataclass(frozen=True)
class Validation:
    """One row.

    Attributes:
        source: the data set's kind.
        setting: what was given.
        episodes: how many.
        miou: in percent, the mean over held-out classes; pixels of all of a class's queries are summed.
        per_class: IoU by name, in percent.
    """

    source: str
    setting: Setting
    episodes: int
    miou: float
    per_class: dict[str, float]


class _Episode(NamedTuple):
    query: int
    shots: list[int]
    label: int


def validate(matcher: Matcher, data: TrainingData) -> list[Validation]:
    """Every whole image that shows a held-out class is asked for it once, with supports from the same data set.

    The matcher was trained without those classes; ConfigError where `data` holds out none.
    """
    if not data.held:
        raise ConfigError("--validate needs classes that are held out: --hold-out 0, 1, 2 or 3")
    rows = []
    matcher = matcher.eval()
    for number, source in enumerate(data.gallery.sources):
        for setting in SETTINGS:
            episodes = _episodes(data, number, setting.shots)
            if episodes:
                rows.append(_row(matcher, data, source.kind, setting, episodes))
    return rows


def _episodes(data: TrainingData, source: int, shots: int) -> list[_Episode]:
    rng = np.random.default_rng([_SEED, source, shots])
    own = [n for n, picture in enumerate(data.gallery.pictures) if picture.source == source]
    whole = data.store.whole()
    showing = {label: [n for n in own if (data.labels[whole[n]] == label).any()] for label in sorted(data.held)}
    episodes = []
    for label, images in showing.items():
        for query in images if len(images) > shots else ():
            others = [n for n in images if n != query]
            chosen = rng.permutation(others)[:shots].tolist()
            episodes.append(_Episode(query, chosen, label))
    return episodes


def _row(matcher: Matcher, data: TrainingData, kind: str, setting: Setting, episodes: list[_Episode]) -> Validation:
    masks = [
        mask
        for start in range(0, len(episodes), _BATCH)
        for mask in _predict(matcher, data, episodes[start : start + _BATCH], setting)
    ]
    labels = data.labels[data.store.whole()[[episode.query for episode in episodes]]]
    sizes = [float(data.sizes[episode.query]) for episode in episodes]
    found = class_ious(np.stack(masks), labels, [episode.label for episode in episodes], sizes)
    per_class = {data.gallery.names[label - 1]: 100 * iou for label, iou in found.items()}
    return Validation(kind, setting, len(episodes), float(np.mean(list(per_class.values()))), per_class)


def class_ious(
    masks: NDArray[np.bool_], labels: NDArray[np.int16], classes: Sequence[int], weights: Sequence[float]
) -> dict[int, float]:
    """IoU of each class, its queries' pixels summed.

    Args:
        masks: (E,H,W) predictions.
        labels: (E,H,W); VOID doesn't count.
        classes: (E,) which label was asked for.
        weights: (E,) how much a query's pixels count.

    Returns:
        By label, in [0, 1].
    """
    both, either = dict.fromkeys(classes, 0.0), dict.fromkeys(classes, 0.0)
    for mask, truth, label, weight in zip(masks, labels, classes, weights, strict=True):
        there = truth == label
        both[label] += weight * float((mask & there).sum())
        either[label] += weight * float(((mask | there) & (truth != VOID)).sum())
    return {label: both[label] / max(either[label], 1e-9) for label in both}


@torch.inference_mode()
def _predict(
    matcher: Matcher, data: TrainingData, episodes: list[_Episode], setting: Setting
) -> list[NDArray[np.bool_]]:
    whole = data.store.whole()
    queries = whole[[episode.query for episode in episodes]]
    shots = whole[np.concatenate([episode.shots for episode in episodes])]
    prior = None
    if setting.masks:
        classes = np.repeat([episode.label for episode in episodes], setting.shots)
        masks = torch.from_numpy((data.labels[shots] == classes[:, None, None]).astype(np.float32))
        grid = F.adaptive_avg_pool2d(masks[:, None].to(data.embedder.device), data.store.grid)[:, 0]
        prior = Prior(grid, torch.ones_like(grid))
    outcome = match(matcher, data.classifier, data.views(matcher, queries), data.views(matcher, shots), prior)
    logits = outcome[-1].query[:, None]
    fine = F.interpolate(logits.sigmoid(), data.labels.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return list((fine > _THRESHOLD).cpu().numpy())
