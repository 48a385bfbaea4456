"""How well a matcher finds classes that it never saw: at the resolution of its map, without GrabCut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fewshot_seg.datasets import VOID
from fewshot_seg.errors import ConfigError
from fewshot_seg.matcher import Matcher
from fewshot_seg.matching import Known, match
from train_embed.matcher.trainer import Ground

__all__ = ["SETTINGS", "Setting", "Validation", "validate"]

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


def validate(matcher: Matcher, ground: Ground) -> list[Validation]:
    """Every whole image that shows a held-out class is asked for it once, with supports from the same data set.

    Args:
        matcher: trained without the classes that `ground` holds out.
        ground: from `trainer.prepare`.

    Raises:
        ConfigError: no class is held out.
    """
    if not ground.held:
        raise ConfigError("--validate needs classes that are held out: --hold-out 0, 1, 2 or 3")
    rows = []
    matcher = matcher.eval()
    for number, source in enumerate(ground.gallery.sources):
        for setting in SETTINGS:
            episodes = _episodes(ground, number, setting.shots)
            if episodes:
                rows.append(_row(matcher, ground, source.kind, setting, episodes))
    return rows


def _episodes(ground: Ground, source: int, shots: int) -> list[_Episode]:
    rng = np.random.default_rng([_SEED, source, shots])
    own = [n for n, picture in enumerate(ground.gallery.pictures) if picture.source == source]
    whole = ground.store.whole()
    showing = {label: [n for n in own if (ground.labels[whole[n]] == label).any()] for label in sorted(ground.held)}
    episodes = []
    for label, images in showing.items():
        for query in images if len(images) > shots else ():
            others = [n for n in images if n != query]
            chosen = rng.permutation(others)[:shots].tolist()
            episodes.append(_Episode(query, chosen, label))
    return episodes


def _row(matcher: Matcher, ground: Ground, kind: str, setting: Setting, episodes: list[_Episode]) -> Validation:
    both = dict.fromkeys((episode.label for episode in episodes), 0.0)
    either = dict(both)
    for start in range(0, len(episodes), _BATCH):
        part = episodes[start : start + _BATCH]
        found = _predict(matcher, ground, part, setting)
        for episode, mask in zip(part, found, strict=True):
            labels = ground.labels[ground.store.whole()[episode.query]]
            weight = ground.sizes[episode.query] / labels.size
            counts, truth = labels != VOID, labels == episode.label
            both[episode.label] += weight * float((mask & truth).sum())
            either[episode.label] += weight * float(((mask | truth) & counts).sum())
    per_class = {ground.gallery.names[label - 1]: 100 * both[label] / max(either[label], 1e-9) for label in both}
    return Validation(kind, setting, len(episodes), float(np.mean(list(per_class.values()))), per_class)


@torch.inference_mode()
def _predict(matcher: Matcher, ground: Ground, episodes: list[_Episode], setting: Setting) -> list[NDArray[np.bool_]]:
    whole = ground.store.whole()
    queries = whole[[episode.query for episode in episodes]]
    shots = whole[np.concatenate([episode.shots for episode in episodes])]
    known = None
    if setting.masks:
        classes = np.repeat([episode.label for episode in episodes], setting.shots)
        masks = torch.from_numpy((ground.labels[shots] == classes[:, None, None]).astype(np.float32))
        grid = F.adaptive_avg_pool2d(masks[:, None].to(ground.embedder.device), ground.store.grid)[:, 0]
        known = Known(grid, torch.ones_like(grid))
    outcome = match(matcher, ground.classifier, ground.views(matcher, queries), ground.views(matcher, shots), known)
    logits = outcome[-1].query[:, None]
    fine = F.interpolate(logits.sigmoid(), ground.labels.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return list((fine > _THRESHOLD).cpu().numpy())
