"""Whether the object is there at all: a learnt metric on the last map, and a calibrated probability from it.

Trained by `train-embed matcher` after the matcher, on queries that show the supports' class and as many that don't.

Shapes: B queries, K shots of each, C channels and h0 x w0 positions of the last map.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Presence"]

_DROPOUT = 0.3
_TOP = 0.05  # of the positions: the most alike
_FLOOR = 0.02  # of the soft foreground, so that no shot is empty
_SIGNS = 4


class Presence(nn.Module):
    """Compares what the shots' foreground shows with every position of a query, and with all of it.

    Args:
        channels: C.
        dimensions: of the metric.
    """

    def __init__(self, channels: int, dimensions: int = 64) -> None:
        super().__init__()
        self.dropout = nn.Dropout(_DROPOUT)
        self.metric = nn.Linear(channels, dimensions)
        self.log_sharpness = nn.Parameter(torch.tensor(3.0))
        self.decide = nn.Linear(_SIGNS, 1)

    def forward(self, queries: Tensor, shots: Tensor, soft: Tensor) -> Tensor:
        """Logits (B,): 0 where it is as likely there as not, if half of all queries show their object.

        Args:
            queries: (B,C,h0,w0) last maps.
            shots: (B,K,C,h0,w0).
            soft: (B,K,h,w) in [0, 1], the shots' foreground, on any grid.
        """
        size = shots.shape[3], shots.shape[4]
        weight = (F.adaptive_avg_pool2d(soft, size) + _FLOOR).flatten(2)  # (B,K,n)
        weight = weight / weight.sum(2, keepdim=True)
        shown = torch.einsum("bkcn,bkn->bc", shots.flatten(3), weight) / shots.shape[1]
        places = self.dropout(queries.flatten(2).transpose(1, 2))  # (B,n,C)
        object_ = F.normalize(self.metric(self.dropout(shown)), dim=1)  # (B,m)
        alike = (F.normalize(self.metric(places), dim=2) * object_[:, None]).sum(2)  # (B,n)
        whole = (F.normalize(self.metric(places.mean(1)), dim=1) * object_).sum(1)
        return self._decide(alike, whole)

    def _decide(self, alike: Tensor, whole: Tensor) -> Tensor:
        count = alike.shape[1]
        sharpness = self.log_sharpness.exp()
        best = alike.topk(max(1, round(_TOP * count)), dim=1).values.mean(1)
        softest = (torch.logsumexp(alike * sharpness, 1) - math.log(count)) / sharpness
        logits: Tensor = self.decide(torch.stack([best, softest, whole, alike.mean(1)], 1))
        return logits[:, 0]
