"""A training's state beside its result: weights, the optimiser's moments, and how many steps are done."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.network.weights import first_line
from train_embed.run.state import (
    UNREADABLE,
    optimizer_tensors,
    part,
    read_tensors,
    restore_module,
    restore_optimizer,
    write_tensors,
)

_KEY = "train_embed_matcher"
_MODEL, _OPTIMIZER = "model/", "optimizer/"


class TrainingState:
    """The state of one training in a file, which need not be there.

    `about` are JSON values that tell which training it is: another one's state is refused.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self._about = json.loads(json.dumps(about))

    def save(self, done: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Writes it, whole or not at all; OutputError if it can't be: an older one is kept."""
        tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
        tensors |= {_OPTIMIZER + name: value for name, value in optimizer_tensors(optimizer).items()}
        write_tensors(self.path, _KEY, {"done": done, "about": self._about}, tensors, "start the same command again")

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """How many steps are done, model and optimiser as they were then; 0 where there is no state.

        Raises:
            ConfigError: it is another training's. CheckpointError: it is damaged.
        """
        if not self.path.exists():
            return 0
        try:
            header, tensors = read_tensors(self.path, _KEY)
            done, about = int(header["done"]), header["about"]
        except UNREADABLE as error:
            raise CheckpointError(f"{self.path} is damaged ({first_line(error)}): delete it to begin anew") from error
        if about != self._about:
            raise ConfigError(f"{self.path} is the state of another training: delete it, or choose another --out")
        restore_module(model, tensors, _MODEL)
        restore_optimizer(optimizer, part(tensors, _OPTIMIZER))
        return done

    def remove(self) -> None:
        """Deletes it: the training is over."""
        self.path.unlink(missing_ok=True)


_RISE = 0.1  # of all steps
_START, _END = 25.0, 25e4  # the peak over the first and over the last rate
_CALM, _FAST = 0.95, 0.85  # momentum at the ends and at the peak


class Cycle(NamedTuple):
    """One step's settings."""

    rate: float
    momentum: float


def cycle_at(step: int, steps: int, peak: float) -> Cycle:
    """The settings of `step` (from 0) of `steps`: a pure function, as torch's `OneCycleLR` with `pct_start` 0.1."""
    top, last = _RISE * steps - 1, steps - 1
    if step <= top:
        share = step / top if top > 0 else 1.0
        return Cycle(_between(peak / _START, peak, share), _between(_CALM, _FAST, share))
    share = (step - top) / (last - top) if last > top else 1.0
    return Cycle(_between(peak, peak / _END, share), _between(_FAST, _CALM, share))


def set_cycle(optimizer: torch.optim.Optimizer, at: Cycle) -> None:
    """Gives an AdamW these settings."""
    for group in optimizer.param_groups:
        group["lr"] = at.rate
        group["betas"] = (at.momentum, group["betas"][1])


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)
