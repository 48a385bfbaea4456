"""The second stage: whether a query shows the supports' class at all. The matcher itself stays as it is."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import FewShotError
from fewshot_seg.matching.matcher import Matcher
from train_embed.matcher.data import TrainingData
from train_embed.matcher.draws import Draws, EpisodeSource, Shares
from train_embed.matcher.losses import one_class, without
from train_embed.matcher.options import MatcherTraining
from train_embed.matcher.states import cycle_at, set_cycle
from train_embed.run.progress import losses_text, training_meter
from train_embed.run.setup import Interrupted, StopSignal

_STREAM: Final = 2**32  # steps of this stage are drawn from here on: its episodes are not the first stage's
_BATCH: Final = 48
_RATE: Final = 2e-3
_DECAY: Final = 1e-2
_VIEWS: Final = 16  # at a time
_WHOLE: Final = 0.3  # share of supports that count as a whole: the matcher's foreground is not always right


def train_presence(
    options: MatcherTraining, data: TrainingData, matcher: Matcher, areas: NDArray[np.float32], stop: StopSignal
) -> None:
    """Trains `matcher.presence` in place, after the first stage, with the true masks as the supports' foreground.

    `areas` (T,L) are each class's shares of each view.

    Raises:
        Interrupted: SIGINT or SIGTERM came; this stage begins anew when the training goes on.
        FewShotError: a loss that is no number.
    """
    images = np.arange(len(data.store)) // data.store.views
    half = Shares(absent=0.5, masked=0.0, several=0.0)
    episodes = EpisodeSource(areas, images, data.held, half)
    kinds = _kinds(data, matcher, options.seed)
    head = matcher.presence.train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=_DECAY)
    with training_meter(options.presence_steps) as progress:
        for step in range(options.presence_steps):
            draws = episodes.draw(options.seed, _STREAM + step, _BATCH)
            torch.manual_seed(draws.dropout)
            set_cycle(optimizer, cycle_at(step, options.presence_steps, _RATE))
            loss = _loss(matcher, data, draws, kinds, options.unfamiliar)
            if not torch.isfinite(loss):
                raise FewShotError(
                    f"presence: the loss of step {step + 1} is no number: the features or labels are at fault"
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            progress.step(losses_text({"presence": loss.item()}))
            if stop.name is not None:
                raise Interrupted(f"stopped by {stop.name} in the second stage; the same command does this stage anew")
    head.eval()


@torch.no_grad()
def _kinds(data: TrainingData, matcher: Matcher, seed: int) -> Tensor:
    """(T,L,h0,w0) float16: the kinds in all views, on the last map's grid.

    As in the first stage half of the channels are dropped: of images that the matcher learnt from it would be too sure.
    """
    torch.manual_seed(seed)
    matcher.train()
    size = data.store.last.shape[2:]
    found = []
    for start in range(0, len(data.store), _VIEWS):
        index = np.arange(start, min(start + _VIEWS, len(data.store)))
        kinds = data.views(matcher, index).encoded.kinds
        found.append(F.adaptive_avg_pool2d(kinds, (size[0], size[1])).half().cpu())
    matcher.eval()
    return torch.cat(found)


def _loss(matcher: Matcher, data: TrainingData, draws: Draws, kinds: Tensor, unfamiliar: float) -> Tensor:
    device = data.embedder.device
    drawn: NDArray[np.float64] = np.random.default_rng([draws.dropout, 1]).random(len(draws.queries))
    classes = torch.from_numpy(np.where(drawn < unfamiliar, draws.classes, 0))
    seen = [
        without(kinds[torch.from_numpy(index)].to(device).float(), classes.to(device))
        for index in (draws.queries, draws.shots[:, 0])
    ]
    shots = draws.shots.reshape(-1)
    last = data.store.last_of(np.concatenate([draws.queries, shots]), device)
    queries, shown = last[: len(draws.queries)], last[len(draws.queries) :]
    labels = torch.from_numpy(data.labels[shots]).to(device).long()
    soft, _ = one_class(labels, torch.from_numpy(draws.classes).to(device))  # (B,H,W)
    soft = torch.where(_whole(draws)[:, None, None].to(device), torch.ones_like(soft), soft)
    logits = matcher.presence(queries, shown[:, None], soft[:, None], seen[0], seen[1][:, None])
    there = torch.from_numpy(~draws.absent).to(device, logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, there)


def _whole(draws: Draws) -> Tensor:
    drawn: NDArray[np.float64] = np.random.default_rng(draws.dropout).random(len(draws.queries))
    return torch.from_numpy(drawn < _WHOLE)
