"""Classification of the training identities, and the centre loss: what re-identification adds to a metric loss.

Both are parts of training alone: they look at what the head gives, and are not in the embedder that is exported.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.network.pcb import PCBHead

START_STD = 0.001
"""Of the classifiers' first weights, as PCB and "Bag of Tricks" have it: all identities begin alike likely."""


class IdentityLoss(nn.Module):
    """Cross-entropy of a linear classifier for each part, added up, with label smoothing (Szegedy et al., 2016).

    The truth is ``1 - e + e/N`` for the image's own identity and ``e/N`` for each of the others, e being the
    smoothing and N the identities. The classifiers have no bias (Luo et al., 2019, section 3.5).

    Args:
        classes: N.
        lengths: of the parts of z, one after the other; a plain head has one part.
        smoothing: e, in [0, 1).
    """

    def __init__(self, classes: int, lengths: Sequence[int], smoothing: float = 0.0) -> None:
        super().__init__()
        self.lengths, self.smoothing = tuple(lengths), smoothing
        classifiers = [nn.Linear(length, classes, bias=False) for length in lengths]
        for classifier in classifiers:
            nn.init.normal_(classifier.weight, std=START_STD)
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of z (B,D), the head's vectors before unit norm, with labels (B,) in 0 .. N - 1.

        Raises:
            ShapeError: shapes that don't belong together.
        """
        if z.ndim != 2 or z.shape[1] != sum(self.lengths) or labels.shape != z.shape[:1]:
            raise ShapeError(
                f"expected z (B,{sum(self.lengths)}) and labels (B,), got {tuple(z.shape)} and {tuple(labels.shape)}"
            )
        total = z[:0].sum()
        for part, classifier in zip(torch.split(z, list(self.lengths), dim=1), self.classifiers, strict=True):
            total = total + functional.cross_entropy(classifier(part), labels, label_smoothing=self.smoothing)
        return total


class CenterLoss(nn.Module):
    """Half the mean squared distance to the centre of one's own identity (Wen et al., 2016, equation 2).

    The centres (classes,dim) have no gradient: in training each batch moves them by `rate` (`moved_centers`), after its
    own loss.
    """

    centers: Tensor

    def __init__(self, classes: int, dim: int, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("centers", torch.zeros(classes, dim))

    def forward(self, f: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, of f (B,F) with labels (B,)."""
        own = self.centers[labels].to(f.dtype)
        loss = 0.5 * (f - own).square().sum(1).sum() / max(len(f), 1)
        if self.training:
            self.centers = moved_centers(self.centers, f.detach(), labels, self.rate)
        return loss


def moved_centers(centers: Tensor, f: Tensor, labels: Tensor, rate: float) -> Tensor:
    """Centres (N,F) after a batch f (B,F): ``c_j - rate sum_{i of j} (c_j - f_i) / (1 + n_j)`` (Wen, equation 4)."""
    counts = torch.bincount(labels, minlength=len(centers)).to(centers.dtype)[:, None]  # (N,1)
    sums = torch.zeros_like(centers).index_add_(0, labels, f.to(centers.dtype))
    return centers - rate * (counts * centers - sums) / (1 + counts)


def part_lengths(head: nn.Module) -> tuple[int, ...]:
    """The lengths of the parts that a head's vector is put together from. ConfigError: a head of another class."""
    if isinstance(head, PCBHead):
        return (head.dim // len(head.parts),) * len(head.parts)
    return (_known(head).dim,)


def pooled_vector(head: nn.Module, feature_map: Tensor) -> Tensor:
    """What the head pools from A (B,C,h,w), before its neck, parts end to end: (B,F)."""
    pooled = head.pool(feature_map) if isinstance(head, PCBHead) else _known(head).pool(feature_map)
    return pooled.flatten(1)


def pooled_length(head: nn.Module) -> int:
    """F of `pooled_vector`."""
    return head.channels * len(head.parts) if isinstance(head, PCBHead) else _known(head).channels


def _known(head: nn.Module) -> PooledHead:
    if not isinstance(head, PooledHead):
        raise ConfigError(f"identities are learnt from a PooledHead or PCBHead, not a {type(head).__name__}")
    return head
