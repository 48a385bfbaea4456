"""What mining costs: a training step with and without, side by side in one process, on random images."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from train_embed.config.load import load_config
from train_embed.config.run_config import RunConfig
from train_embed.data.loading import Batch
from train_embed.run.learner import Learner
from train_embed.run.memory import keep_freed_memory
from train_embed.run.setup import run_device, seeded

VARIANTS: dict[str, tuple[str, ...]] = {
    "without mining": ("mining.enabled=false",),
    "with mining": ("mining.enabled=true", "mining.baseline=none"),
    "with mining, maps detached": ("mining.enabled=true", "mining.baseline=none", "mining.detach_maps=true"),
    "with the Grad-CAM baseline": ("mining.enabled=true", "mining.baseline=gradcam"),
}
"""The first is what the others are compared with. In this order, for the process's peak memory only grows."""

_CLASSES = 100


@dataclass(frozen=True)
class Cost:
    """Of a step.

    Attributes:
        variant: a key of `VARIANTS`.
        seconds: median over the rounds.
        ratio: median over the rounds of its time divided by the first variant's in the same round.
        memory: the process's peak so far, GiB; on a GPU, of the device in this variant's steps.
    """

    variant: str
    seconds: float
    ratio: float
    memory: float


def step_costs(config: str | Mapping[str, Any], overrides: Sequence[str] = (), rounds: int = 7) -> list[Cost]:
    """Times one step of every variant in turn, `rounds` times after a warm-up; ConfigError as `load_config`."""
    configs = {name: load_config(config, [*overrides, *changes]) for name, changes in VARIANTS.items()}
    base = next(iter(configs.values()))
    device = run_device(base)
    if device.type == "cpu":
        keep_freed_memory()
    times: dict[str, list[float]] = {name: [] for name in configs}
    memory: dict[str, float] = {}
    with seeded(base.run.seed, base.run.threads, device):
        batch = _batch(base)
        learners: dict[str, Learner] = {}
        for name, one in configs.items():  # the warm-up
            learners[name] = Learner(one, _CLASSES, device)
            _step(learners[name], batch, 0)
            memory[name] = _peak(device)
        for number in range(1, rounds + 1):
            for name, learner in learners.items():
                times[name].append(_step(learner, batch, number))
    first = times[next(iter(times))]
    return [
        Cost(
            name,
            statistics.median(times[name]),
            statistics.median(one / other for one, other in zip(times[name], first, strict=True)),
            memory[name],
        )
        for name in times
    ]


def _batch(config: RunConfig) -> Batch:
    """Random images of P classes, K of each."""
    p, k = config.sampler.p, config.sampler.k
    size = config.data.train_size or config.model.size
    shape = size, config.model.width or size
    labels = torch.arange(p).repeat_interleave(k)
    images = torch.randn(len(labels), 3, *shape, generator=torch.Generator().manual_seed(0))
    return Batch(images, labels, torch.arange(len(labels)), {})


def _step(learner: Learner, batch: Batch, number: int) -> float:
    """Seconds of forward, backward and the optimiser's step."""
    learner.start(0)
    start = time.perf_counter()
    learner.accumulate(batch, number, float(number), 1.0)
    learner.step(number, 0.0)
    if learner.device.type == "cuda":
        torch.cuda.synchronize(learner.device)
    return time.perf_counter() - start


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
        return peak
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (2**30 if sys.platform == "darwin" else 2**20)
