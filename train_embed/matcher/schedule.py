"""One cycle of the learning rate and of Adam's first momentum (Smith and Topin, arXiv 1708.07120)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

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
