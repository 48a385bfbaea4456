"""Metric losses L_ml on a batch of embeddings: contrastive, triplet, quadruplet, and three of a later date.

The paper's three (its sections 2.2 and 2.3 add similarity mining to them, equation 3) are functions of embeddings and
tuples of indices, which `losses.selection` finds in a batch; `make_loss` puts the two together. Distances are
Euclidean, between unit vectors within [0, 2]. With ``[x]+ = max(x, 0)`` and d(x, y) the distance:

- contrastive (Hadsell 2006): ``d(1,2)^2`` for the same class, ``[margin - d(1,2)]+^2`` for different ones;
- triplet (Schroff 2015; the distance not squared, Hermans 2017): ``[d(a,p) - d(a,n) + margin]+``;
- quadruplet (Chen 2017; not squared either): that with n1, and ``[d(a,p) - d(n1,n2) + margin2]+``.

**Means.** A hinge at 0 says nothing, and the most of "all" tuples are soon there, so each hinge term is the mean over
those above 0 (Hermans 2017); positive and negative pairs are averaged apart, so that the many negatives don't drown
the few positives. No tuples give a 0 that still has a graph: every rank of a distributed run can go backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from fewshot_seg.errors import ConfigError, ShapeError
from train_embed.losses.proxies import NormalizedSoftmaxLoss, ProxyAnchorLoss
from train_embed.losses.selection import Selection, distances, select_pairs, select_quadruplets, select_triplets

if TYPE_CHECKING:
    from train_embed.config.loss_schema import LossConfig

__all__ = [
    "ContrastiveLoss",
    "QuadrupletLoss",
    "Selection",
    "TripletLoss",
    "contrastive_loss",
    "distances",
    "make_loss",
    "quadruplet_loss",
    "select_pairs",
    "select_quadruplets",
    "select_triplets",
    "triplet_loss",
]


def contrastive_loss(f: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """Mean ``d^2`` of the positives plus mean ``[margin - d]+^2`` of those negatives nearer than the margin.

    Args:
        f: (B,D) embeddings.
        positives: (P,2) int64 indices of pairs of one class.
        negatives: (N,2) of pairs of different classes.
        margin: the distance that different classes should keep, >= 0.

    Returns:
        A scalar >= 0.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    _check(f, (positives, 2), (negatives, 2))
    d = distances(f)
    apart = (margin - d[negatives[:, 0], negatives[:, 1]]).relu()
    # Not d.square(): the root's gradient at 0 is better not asked for.
    together = (f[positives[:, 0]] - f[positives[:, 1]]).square().sum(1)
    return _mean(together, f) + _mean_active(apart, f, square=True)


def triplet_loss(f: Tensor, triplets: Tensor, margin: float) -> Tensor:
    """Mean of ``[d(a,p) - d(a,n) + margin]+`` over the triplets where it is above 0.

    Args:
        f: (B,D) embeddings.
        triplets: (T,3) int64 indices: anchor, positive, negative.
        margin: how much farther than the positive the negative should be, >= 0.

    Returns:
        A scalar >= 0.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    _check(f, (triplets, 3))
    d = distances(f)
    a, p, n = triplets.unbind(1)
    return _mean_active((d[a, p] - d[a, n] + margin).relu(), f)


def quadruplet_loss(f: Tensor, quadruplets: Tensor, margin: float, margin2: float) -> Tensor:
    """The triplet loss of a, p and n1, plus the mean of ``[d(a,p) - d(n1,n2) + margin2]+`` where it is above 0.

    Args:
        f: (B,D) embeddings.
        quadruplets: (T,4) int64 indices: anchor, positive, and negatives of two further classes.
        margin: of the first term, >= 0.
        margin2: of the second, >= 0; the paper of this loss takes it smaller than the first.

    Returns:
        A scalar >= 0.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    _check(f, (quadruplets, 4))
    d = distances(f)
    a, p, n1, n2 = quadruplets.unbind(1)
    first = _mean_active((d[a, p] - d[a, n1] + margin).relu(), f)
    return first + _mean_active((d[a, p] - d[n1, n2] + margin2).relu(), f)


class ContrastiveLoss(nn.Module):
    """`contrastive_loss` on the batch's pairs: (f (B,D), labels (B,)) -> scalar."""

    def __init__(self, margin: float = 1.0, selection: Selection = "all") -> None:
        super().__init__()
        self.margin = margin
        self.selection: Selection = selection

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss of f (B,D) with labels (B,), a scalar."""
        return contrastive_loss(f, *select_pairs(f, labels, self.selection), self.margin)


class TripletLoss(nn.Module):
    """`triplet_loss` on the batch's triplets: (f (B,D), labels (B,)) -> scalar."""

    def __init__(self, margin: float = 0.2, selection: Selection = "semi-hard") -> None:
        super().__init__()
        self.margin = margin
        self.selection: Selection = selection

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss of f (B,D) with labels (B,), a scalar."""
        return triplet_loss(f, select_triplets(f, labels, self.selection, self.margin), self.margin)


class QuadrupletLoss(nn.Module):
    """`quadruplet_loss` on the batch's quadruplets: (f (B,D), labels (B,)) -> scalar."""

    def __init__(self, margin: float = 0.2, margin2: float = 0.1, selection: Selection = "semi-hard") -> None:
        super().__init__()
        self.margin = margin
        self.margin2 = margin2
        self.selection: Selection = selection

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss of f (B,D) with labels (B,), a scalar."""
        return quadruplet_loss(f, select_quadruplets(f, labels, self.selection), self.margin, self.margin2)


class _LibraryLoss(nn.Module):
    """A loss of pytorch-metric-learning, after its miner if it has one."""

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss of f (B,D) with labels (B,), a scalar."""
        _check(f)
        mined = None if self.miner is None else self.miner(f, labels)
        value: Tensor = self.loss(f, labels, mined)
        return value + _zero(f)


def make_loss(config: LossConfig, classes: int, dim: int) -> nn.Module:
    """The loss that a config asks for: a module (f (B,D), labels (B,) in 0 .. classes - 1) -> scalar.

    Args:
        config: names the loss, and its numbers; None stands for the class's own default.
        classes: how many classes are trained on; the last two losses have a proxy, a parameter, for each. Call
            torch.manual_seed first for proxies that repeat, and move the module to the embeddings' device.
        dim: D.

    Raises:
        ConfigError: an unknown loss, or "multi-similarity" where pytorch-metric-learning isn't installed.
    """
    name = config.name
    if name == "contrastive":
        return ContrastiveLoss(**_given(config, "margin", "selection"))
    if name == "triplet":
        return TripletLoss(**_given(config, "margin", "selection"))
    if name == "quadruplet":
        return QuadrupletLoss(**_given(config, "margin", "margin2", "selection"))
    if name == "multi-similarity":
        library, miners = _library(name)
        loss = library.MultiSimilarityLoss(**_given(config, "alpha", "beta", "base"))
        return _LibraryLoss(loss, miners.MultiSimilarityMiner())
    if name == "proxy-anchor":
        return ProxyAnchorLoss(classes, dim, **_given(config, "margin", "alpha"))
    if name == "normalized-softmax":
        return NormalizedSoftmaxLoss(classes, dim, **_given(config, "alpha"))
    raise ConfigError(
        f"unknown loss {name!r}: choose contrastive, triplet, quadruplet, multi-similarity, proxy-anchor or "
        "normalized-softmax"
    )


def _given(config: LossConfig, *keys: str) -> dict[str, Any]:
    return {key: value for key in keys if (value := getattr(config, key)) is not None}


def _library(name: str) -> tuple[Any, Any]:
    """The losses and the miners of pytorch-metric-learning."""
    try:
        from pytorch_metric_learning import losses, miners
    except ImportError as error:
        raise ConfigError(f"loss {name} needs pytorch-metric-learning: pip install 'fewshot-seg[metric]'") from error
    return losses, miners


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
