"""The moving average of an embedder's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fewshot_seg.network.embedder import Embedder


class MovingAverage:
    """``average = decay * average + (1 - decay) * weights`` after every step, buffers copied as they are.

    Early on the decay is ``(1 + n) / (10 + n)`` at step n where that is smaller, so that the weights that the run
    started from, and a random neck among them, are soon forgotten.

    Args:
        embedder: copied; the copy, in eval mode and frozen, is `embedder` of this object.
        decay: in (0, 1).
    """

    def __init__(self, embedder: Embedder, decay: float) -> None:
        self.embedder = copy.deepcopy(embedder).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, embedder: Embedder, step: int) -> None:
        """Takes the weights after step `step` (from 0) in."""
        decay = min(self.decay, (1 + step) / (10 + step))
        new = dict(embedder.named_parameters())
        for name, average in self.embedder.named_parameters():
            average.lerp_(new[name].detach().to(average.dtype), 1 - decay)
        buffers: dict[str, Tensor] = dict(embedder.named_buffers())
        for name, buffer in self.embedder.named_buffers():
            buffer.copy_(buffers[name])
