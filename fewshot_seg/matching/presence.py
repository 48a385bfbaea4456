"""Whether the object is there at all: a learnt metric on the last map, and a calibrated probability from it.

Trained by `train-embed matcher` after the matcher, on queries that show the supports' class and as many that don't.

Shapes: B queries, K shots of each, C channels and h0 x w0 positions of the last map, L kinds of things.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_DROPOUT = 0.3
_TOP = 0.05  # of the positions: the most alike
_NOTHING = 1e-6
_FLOOR = 0.02  # of the soft foreground, so that no shot is empty
_SIGNS, _KIND_SIGNS = 4, 3


class Presence(nn.Module):
    """Compares what the shots' foreground shows with every position of a query, and with all of it.

    Args:
        channels: C.
        kinds: L; 0 where the matcher tells none apart.
        dimensions: of the metric.
    """

    def __init__(self, channels: int, kinds: int = 0, dimensions: int = 64) -> None:
        super().__init__()
        self.dropout = nn.Dropout(_DROPOUT)
        self.metric = nn.Linear(channels, dimensions)
        self.log_sharpness = nn.Parameter(torch.tensor(3.0))
        self.decide = nn.Linear(_SIGNS + (_KIND_SIGNS if kinds else 0), 1)
        # All signs speak for it from the start: where chance made most of them speak against it, it learnt nothing.
        nn.init.constant_(self.decide.weight, 1.0)

    def forward(self, queries: Tensor, shots: Tensor, soft: Tensor, query_kinds: Tensor, shot_kinds: Tensor) -> Tensor:
        """Logits (B,): 0 where it is as likely there as not, if half of all queries show their object.

        Args:
            queries: (B,C,h0,w0) last maps.
            shots: (B,K,C,h0,w0).
            soft: (B,K,h,w) in [0, 1], the shots' foreground, on any grid.
            query_kinds: (B,L,h',w') probabilities, on any grid.
            shot_kinds: (B,K,L,h',w').
        """
        weight = _shares(soft, shots)
        shown = torch.einsum("bkcn,bkn->bc", shots.flatten(3), weight) / shots.shape[1]
        places = self.dropout(queries.flatten(2).transpose(1, 2))  # (B,n,C)
        object_ = F.normalize(self.metric(self.dropout(shown)), dim=1)  # (B,m)
        alike = (F.normalize(self.metric(places), dim=2) * object_[:, None]).sum(2)  # (B,n)
        whole = (F.normalize(self.metric(places.mean(1)), dim=1) * object_).sum(1)
        count, sharpness = alike.shape[1], self.log_sharpness.exp()
        softest = (torch.logsumexp(alike * sharpness, 1) - math.log(count)) / sharpness
        signs = [_best(alike), softest, alike.mean(1), whole]
        if query_kinds.shape[1]:
            signs += _kind_signs(query_kinds, shot_kinds, soft)
        logits: Tensor = self.decide(torch.stack(signs, 1))
        return logits[:, 0]


def _kind_signs(query: Tensor, shots: Tensor, soft: Tensor) -> list[Tensor]:
    """Three signs (B,): how far the kinds explain the shots, how sure the query shows these kinds, and both at once."""
    weight = _shares(soft, shots)
    shown = torch.einsum("bkln,bkn->bl", shots.flatten(3), weight) / shots.shape[1]  # (B,L)
    explained = shown.sum(1)
    there = _best(query.flatten(2))  # (B,L)
    sure = (shown * there).sum(1) / (explained + _NOTHING)
    return [explained, sure, explained * sure]


def _shares(soft: Tensor, like: Tensor) -> Tensor:
    """(B,K,n) how much each position of the shots `like` (B,K,*,h,w) counts, 1 in all, for foregrounds (B,K,*,*)."""
    weight = (F.adaptive_avg_pool2d(soft, (like.shape[3], like.shape[4])) + _FLOOR).flatten(2)
    return weight / weight.sum(2, keepdim=True)


def _best(values: Tensor) -> Tensor:
    """The mean of the largest of (...,n) values."""
    return values.topk(max(1, round(_TOP * values.shape[-1])), dim=-1).values.mean(-1)
