"""Metric losses L_ml on a batch of embeddings: contrastive, triplet, quadruplet, and three of a later date.

The paper's three (its sections 2.2 and 2.3 add similarity mining to them, equation 3) are functions of embeddings and
tuples of indices, which `losses.selection` finds in a batch; `make_loss` puts the two together. Distances are
Euclidean, between unit vectors within [0, 2]. With ``[x]+ = max(x, 0)`` and d(x, y) the distance:

- contrastive (Hadsell 2006): ``d(1,2)^2`` for the same class, ``[margin - d(1,2)]+^2`` for different ones;
- triplet (Schroff 2015; the distance not squared, Hermans 2017): ``[d(a,p) - d(a,n) + margin]+``;
- quadruplet (Chen 2017; not squared either): that with n1, and ``[d(a,p) - d(n1,n2) + margin2]+``.

Each takes f (B,D) embeddings, (T,size) int64 indices into them and margins >= 0, gives a scalar >= 0, and raises
ShapeError for shapes that don't belong together.

**Means.** A hinge at 0 says nothing, and the most of "all" tuples are soon there, so each hinge term is the mean over
those above 0 (Hermans 2017); positive and negative pairs are averaged apart, so that the many negatives don't drown
the few positives. No tuples give a 0 that still has a graph: every rank of a distributed run can go backward.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fewshot_seg.errors import ConfigError, ShapeError
from train_embed.config.loss_schema import LOSS_DEFAULTS, TUPLE_OF_LOSS, LossConfig, Selection
from train_embed.losses.proxies import ProxyLoss
from train_embed.losses.selection import distances, select_pairs, select_quadruplets, select_triplets


def contrastive_loss(f: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """Mean ``d^2`` of the positives (P,2) plus mean ``[margin - d]+^2`` of those negatives (N,2) nearer than that."""
    _check(f, (positives, 2), (negatives, 2))
    d = distances(f)
    apart = (margin - d[negatives[:, 0], negatives[:, 1]]).relu()
    # Not d.square(): the root's gradient at 0 is better not asked for.
    together = (f[positives[:, 0]] - f[positives[:, 1]]).square().sum(1)
    return _mean(together, f) + _mean_active(apart, f, square=True)


def triplet_loss(f: Tensor, triplets: Tensor, margin: float) -> Tensor:
    """Mean of ``[d(a,p) - d(a,n) + margin]+`` over the triplets (T,3), a, p, n, where it is above 0."""
    _check(f, (triplets, 3))
    d = distances(f)
    a, p, n = triplets.unbind(1)
    return _mean_active((d[a, p] - d[a, n] + margin).relu(), f)


def quadruplet_loss(f: Tensor, quadruplets: Tensor, margin: float, margin2: float) -> Tensor:
    """The triplet loss of a, p, n1, plus the mean of ``[d(a,p) - d(n1,n2) + margin2]+`` where it is above 0.

    Quadruplets are (T,4): anchor, positive, negatives of two further classes. Chen et al. take margin2 < margin.
    """
    _check(f, (quadruplets, 4))
    d = distances(f)
    a, p, n1, n2 = quadruplets.unbind(1)
    first = _mean_active((d[a, p] - d[a, n1] + margin).relu(), f)
    return first + _mean_active((d[a, p] - d[n1, n2] + margin2).relu(), f)


class TupleLoss(nn.Module):
    """`contrastive_loss`, `triplet_loss` or `quadruplet_loss`, as `name` says, of the tuples selected from a batch."""

    def __init__(self, name: str, selection: Selection, margin: float, margin2: float = 0.0) -> None:
        super().__init__()
        self.name, self.selection, self.margin, self.margin2 = name, selection, margin, margin2

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss of f (B,D) with labels (B,), a scalar."""
        if self.name == "contrastive":
            return contrastive_loss(f, *select_pairs(f, labels, self.selection), self.margin)
        if self.name == "triplet":
            return triplet_loss(f, select_triplets(f, labels, self.selection, self.margin), self.margin)
        return quadruplet_loss(f, select_quadruplets(f, labels, self.selection), self.margin, self.margin2)


class _LibraryLoss(nn.Module):
    """A loss of pytorch-metric-learning, after its miner."""

    def __init__(self, loss: nn.Module, miner: nn.Module) -> None:
        super().__init__()
        self.loss, self.miner = loss, miner

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss of f (B,D) with labels (B,), a scalar."""
        _check(f)
        value: Tensor = self.loss(f, labels, self.miner(f, labels))
        return value + _zero(f)


def make_loss(config: LossConfig, classes: int, dim: int) -> nn.Module:
    """The loss that a config asks for: a module (f (B,D), labels (B,) in 0 .. classes - 1) -> scalar.

    Args:
        config: names the loss, and its numbers.
        classes: how many classes are trained on; the last two losses have a proxy, a parameter, for each. Call
            torch.manual_seed first for proxies that repeat, and move the module to the embeddings' device.
        dim: D.

    Raises:
        ConfigError: an unknown loss, or "multi-similarity" where pytorch-metric-learning isn't installed.
    """
    if config.name not in LOSS_DEFAULTS:
        raise ConfigError(f"unknown loss {config.name!r}: choose {', '.join(LOSS_DEFAULTS)}")
    if config.name in TUPLE_OF_LOSS:
        return TupleLoss(**_given(config, "name", "selection", "margin", "margin2"))
    if config.name != "multi-similarity":
        return ProxyLoss(classes, dim, **_given(config, "name", "margin", "alpha"))
    try:
        from pytorch_metric_learning import losses, miners
    except ImportError as error:
        raise ConfigError(
            f"loss {config.name} needs pytorch-metric-learning: pip install 'fewshot-seg[metric]'"
        ) from error
    return _LibraryLoss(
        losses.MultiSimilarityLoss(**_given(config, "alpha", "beta", "base")), miners.MultiSimilarityMiner()
    )


def _given(config: LossConfig, *keys: str) -> dict[str, Any]:
    return {key: value for key in keys if (value := getattr(config, key)) is not None}


def _zero(f: Tensor) -> Tensor:
    """A 0 that depends on f."""
    return f[:0].sum()


def _mean(terms: Tensor, f: Tensor) -> Tensor:
    return terms.mean() if len(terms) else _zero(f)


def _mean_active(hinges: Tensor, f: Tensor, square: bool = False) -> Tensor:
    """Mean of the hinges above 0, each squared if asked; 0 where there is none."""
    active = (hinges > 0).sum().clamp_min(1)
    return (hinges.square() if square else hinges).sum() / active + _zero(f)


def _check(f: Tensor, *tuples: tuple[Tensor, int]) -> None:
    if f.ndim != 2:
        raise ShapeError(f"expected embeddings of shape (B,D), got {tuple(f.shape)}")
    for indices, size in tuples:
        if indices.ndim != 2 or indices.shape[1] != size:
            raise ShapeError(f"expected tuples of shape (T,{size}), got {tuple(indices.shape)}")
