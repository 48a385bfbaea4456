"""The loop: features once, then steps over episodes of them.

Everything that is drawn is a function of (seed, step), so a training that was interrupted ends, on a CPU and with the
same number of threads, with the same bits as one that wasn't. Its state lies beside the result, FILE.state, until
the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fewshot_seg.datasets import VOID
from fewshot_seg.errors import FewShotError
from fewshot_seg.matching.files import MatcherHeader, save_matcher
from fewshot_seg.matching.matcher import Matcher
from fewshot_seg.matching.rounds import Prior, View, match
from train_embed.matcher.data import TrainingData
from train_embed.matcher.draws import Draws, EpisodeSource, Shares
from train_embed.matcher.gallery import fold_names
from train_embed.matcher.losses import any_object, kinds_loss, map_loss, one_class, without
from train_embed.matcher.options import MatcherTraining
from train_embed.matcher.presence import train_presence
from train_embed.matcher.states import TrainingState, cycle_at, set_cycle
from train_embed.run.memory import keep_freed_memory
from train_embed.run.progress import losses_text, training_meter
from train_embed.run.setup import Interrupted, seeded, stop_on_signals

TERMS = (
    "Trained on the images named in `data`, over ImageNet weights; the images are under their owners' terms, most of "
    "them for research. No image or label is in this file."
)

_DECAY = 1e-2
_CLIP = 1.0
_SECOND_STAGE = "presence."
_SHOT_LOSS, _OBJECT_LOSS, _KIND_LOSS = 0.5, 0.5, 0.5
_NEWS = 0.05  # a step's part of the mean loss that is shown
_KEEP_EVERY = 100  # steps between states


def train_matcher(options: MatcherTraining, data: TrainingData, out: Path, keep_every: int = _KEEP_EVERY) -> Matcher:
    """Trains, or goes on where a state lies beside `out`, and writes the matcher.

    `data` is from `prepare` with the same options, and its matcher is trained; `keep_every` steps the state is saved.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the state is saved.
        ConfigError: the state is another training's. OutputError: a file can't be written.
        FewShotError: a loss that is no number.
    """
    if data.embedder.device.type == "cpu":
        keep_freed_memory()
    about = training_metadata(options, data)
    with seeded(options.seed, options.threads, data.embedder.device), stop_on_signals() as stop:
        loop = _Loop(options, data)
        state = TrainingState(out.with_name(out.name + ".state"), about)
        loop.done = state.restore(loop.matcher, loop.optimizer)
        mean: float | None = None
        with training_meter(options.steps, loop.done) as progress:
            while loop.done < options.steps:
                loss = loop.step()
                mean = loss if mean is None else mean + _NEWS * (loss - mean)
                progress.step(losses_text({"loss": mean}))
                if stop.name is not None or loop.done % keep_every == 0 or loop.done == options.steps:
                    state.save(loop.done, loop.matcher, loop.optimizer)
                if stop.name is not None:
                    raise Interrupted(
                        f"stopped by {stop.name} after step {loop.done} of {options.steps}; the state is saved: the "
                        "same command goes on"
                    )
        train_presence(options, data, loop.matcher, loop.areas, stop)
    matcher = loop.matcher.eval()
    save_matcher(out, matcher, MatcherHeader(matcher.spec, data.weights, about))
    state.remove()
    return matcher


class _Loop:
    """The matcher, its optimiser, and where they are."""

    def __init__(self, options: MatcherTraining, data: TrainingData) -> None:
        self.options, self.data = options, data
        self.matcher = data.matcher.train()
        own = [value for name, value in self.matcher.named_parameters() if not name.startswith(_SECOND_STAGE)]
        self.optimizer = torch.optim.AdamW(own, lr=options.rate, weight_decay=_DECAY)
        labels = data.labels[:, ::2, ::2].copy()
        labels[np.isin(labels, list(data.held))] = VOID
        self._labels = labels
        images = np.arange(len(data.store)) // data.store.views
        self.areas = _areas(data.labels[:, ::2, ::2], len(data.gallery.names))
        shares = Shares(options.absent, options.masked, options.several)
        self._episodes = EpisodeSource(self.areas, images, data.held, shares)
        self.done = 0

    def step(self) -> float:
        """One step of the optimiser; the loss before it. FewShotError: it is no number."""
        draws = self._episodes.draw(self.options.seed, self.done, self.options.batch)
        torch.manual_seed(draws.dropout)
        set_cycle(self.optimizer, cycle_at(self.done, self.options.steps, self.options.rate))
        loss = self._loss(draws)
        if not torch.isfinite(loss):
            raise FewShotError(f"the loss of step {self.done + 1} is no number: lower --rate")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.matcher.parameters(), _CLIP)
        self.optimizer.step()
        self.done += 1
        return loss.item()

    def _loss(self, draws: Draws) -> Tensor:
        device = self.data.embedder.device
        b, k = draws.shots.shape
        shots = draws.shots.reshape(-1)
        views = self.data.views(self.matcher, np.concatenate([draws.queries, shots]))
        classes = torch.from_numpy(draws.classes).to(device)
        kinds = views.encoded.kinds
        views = _forget(views, classes, k, draws, self.options.unfamiliar)
        query, support = views.pick(slice(0, b)), views.pick(slice(b, None))
        of_query, of_shots = (
            torch.from_numpy(self._labels[index]).to(device).long() for index in (draws.queries, shots)
        )
        shot_classes = classes.repeat_interleave(k)
        prior = _masks(of_shots, shot_classes, self.data.store.grid) if draws.masked else None
        use = torch.from_numpy(~draws.absent).to(device).float().repeat_interleave(k)
        loss = torch.zeros((), device=device)
        outcomes = match(self.matcher, self.data.classifier, query, support, prior)
        for outcome in outcomes:
            loss = loss + map_loss(outcome.query, *one_class(of_query, classes))
            shot_logits = outcome.shots.flatten(0, 1)
            loss = loss + _SHOT_LOSS * map_loss(shot_logits, *one_class(of_shots, shot_classes), use)
        objects = map_loss(query.encoded.objectness, *any_object(of_query))
        objects = objects + map_loss(support.encoded.objectness, *any_object(of_shots))
        total = loss / len(outcomes) + _OBJECT_LOSS * objects
        return total + _KIND_LOSS * kinds_loss(kinds, torch.cat([of_query, of_shots])) if kinds.shape[1] else total


def _forget(views: View, classes: Tensor, k: int, draws: Draws, share: float) -> View:
    """The same, but in a share of the episodes the class is none of the kinds that the matcher tells apart.

    So it learns to decide for classes that it never met, too. `views` are of B queries, then of their B*K supports.
    """
    drawn: NDArray[np.float64] = np.random.default_rng(draws.dropout).random(len(classes))
    hidden = classes * torch.from_numpy(drawn < share).to(classes)
    kinds = without(views.encoded.kinds, torch.cat([hidden, hidden.repeat_interleave(k, 0)]))
    return views._replace(encoded=views.encoded._replace(kinds=kinds))


def _masks(labels: Tensor, classes: Tensor, grid: tuple[int, int]) -> Prior:
    """The masks of one class each, on the grid."""
    target, _ = one_class(labels, classes)
    foreground = F.adaptive_avg_pool2d(target[:, None], grid)[:, 0]
    return Prior(foreground, torch.ones_like(foreground))


def _areas(labels: NDArray[np.int16], classes: int) -> NDArray[np.float32]:
    """(T,L) each class's share of each label map."""
    areas = np.zeros((len(labels), classes), np.float32)
    for number, own in enumerate(labels):
        counts = np.bincount(own[own > 0].astype(np.int64), minlength=classes + 1)
        areas[number] = counts[1:] / own.size
    return areas


def training_metadata(options: MatcherTraining, data: TrainingData) -> Mapping[str, Any]:
    """What a matcher's file tells of its training: everything that determines it, in JSON values."""
    return {
        "options": options.to_dict(),
        "images": data.gallery.counts(),
        "images_sha256": data.gallery.digest(),
        "classes": len(data.gallery.names),
        "held_out": list(fold_names(options.hold_out)),
        "device": data.embedder.device.type,
        "terms": TERMS,
        **({} if data.embedder.classifier is not None else {"classifier": False}),
    }
