"""The optimiser and its rates: what learns how fast, as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from fewshot_seg.errors import ConfigError
from fewshot_seg.network.embedder import Embedder
from train_embed.config.schema import OptimizerConfig
from train_embed.run.model import stages_of


def build_optimizer(
    config: OptimizerConfig, embedder: Embedder, extra: Sequence[nn.Module] = ()
) -> torch.optim.Optimizer:
    """The optimiser over trunk, head and the modules of the loss (`extra`, with `loss_lr`), each with its own rate.

    Biases, the scales of batch norms and GeM's exponent are not decayed; what requires no gradient is left out. Each
    group has a "name" ("trunk", "head", "loss") and keeps its full rate under "base_lr".

    Raises:
        ConfigError: there is nothing to train.
    """
    loss_lr = config.head_lr if config.loss_lr is None else config.loss_lr
    parts = [("head", list(embedder.head.parameters()), config.head_lr)]
    parts += [("loss", list(module.parameters()), loss_lr) for module in extra]
    parts = [*_trunk(embedder.trunk, config.trunk_lr, config.layer_decay), *parts]
    groups = [group for part in parts for group in _groups(*part, config.weight_decay)]
    if not groups:
        raise ConfigError("nothing to train: the trunk is frozen (optimizer.trunk_lr 0) and model.neck is none")
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups)


def _trunk(trunk: nn.Module, lr: float, decay: float) -> Iterator[tuple[str, list[nn.Parameter], float]]:
    """The trunk's parameters and rates: each stage learns `decay` times as fast as the one after it, the stem least.

    What comes after the last stage has the full rate, as has everything if `decay` is 1.
    """
    whole = list(trunk.parameters())
    if decay == 1:
        yield "trunk", whole, lr
        return
    stages = [list(stage.parameters()) for stage in stages_of(trunk)]
    if not stages:
        raise ConfigError(f"optimizer.layer_decay {decay}: this backbone has no stages; leave it at 1")
    place_of = {id(p): place for place, p in enumerate(whole)}
    first, last = place_of[id(stages[0][0])], place_of[id(stages[-1][-1])]
    for place, params in enumerate([whole[:first], *stages, whole[last + 1 :]]):
        yield "trunk", params, lr * decay ** (len(stages) + 1 - place)


def _groups(name: str, params: list[nn.Parameter], lr: float, decay: float) -> Iterator[dict[str, Any]]:
    trained = [p for p in params if p.requires_grad]
    for params, weight_decay in (
        ([p for p in trained if p.ndim >= 2], decay),
        ([p for p in trained if p.ndim < 2], 0.0),
    ):
        if params:
            yield {"name": name, "params": params, "lr": lr, "base_lr": lr, "weight_decay": weight_decay}


def rate_factor(config: OptimizerConfig, progress: float, epochs: int) -> float:
    """What the rates are multiplied by, in [0, 1], after `progress` of `epochs` epochs, with fractions.

    Warm-up grows linearly from near 0 to 1; "cosine" then falls to 0 at the run's end; "step" multiplies by the factor
    at each of its epochs, counted from the run's start.
    """
    warmup = config.warmup_epochs
    if progress < warmup:
        return max(progress, 0.01 * warmup) / warmup  # a rate of 0 would waste the first step
    if config.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(epochs - warmup, 1e-9)))
    if config.schedule == "step":
        return math.prod(config.step_factor for epoch in config.step_epochs if progress >= epoch)
    return 1.0


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Gives every group its own rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
