"""What a matcher's logits cost. Shapes: B maps, h x w positions, H x W labels (finer)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_seg.datasets import BACKGROUND, VOID

_OVERLAP = 0.5  # weight of the soft IoU beside the cross-entropy
_LEAST_CHANCE = 1e-6


def map_loss(logits: Tensor, target: Tensor, counts: Tensor, use: Tensor | None = None) -> Tensor:
    """Cross-entropy over the positions that count, and, where the target has any, half of one minus the soft IoU.

    Args:
        logits: (B,h,w).
        target: (B,H,W) 0 or 1.
        counts: (B,H,W) 1, or 0 for void.
        use: (B,) weights of the maps; None: all alike.

    Returns:
        A scalar, the mean over maps.
    """
    logits = F.interpolate(logits[:, None], target.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (entropy * counts).sum((1, 2)) / (counts.sum((1, 2)) + 1e-3)
    soft = torch.sigmoid(logits)
    both = (soft * target * counts).sum((1, 2))
    either = ((soft + target - soft * target) * counts).sum((1, 2))
    there = (target * counts).sum((1, 2)) > 1
    each = entropy + _OVERLAP * torch.where(there, 1 - both / (either + 1e-3), torch.zeros_like(both))
    if use is None:
        return each.mean()
    return (each * use).sum() / (use.sum() + 1e-6)


def one_class(labels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Target and what counts, both (B,H,W) float, of labels (B,H,W) and one class (B,) for each."""
    return (labels == classes[:, None, None]).float(), (labels != VOID).float()


def any_object(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Target and what counts, both (B,H,W) float: all that has a class."""
    return (labels > BACKGROUND).float(), (labels != VOID).float()


def kinds_loss(kinds: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the kinds of things, over all positions that count.

    Args:
        kinds: (B,L,h,w) probabilities; what is missing to 1 is background's.
        labels: (B,H,W) 0 background, 1..L, or VOID; each position has the label nearest to its middle.

    Returns:
        A scalar, 0 where nothing counts.
    """
    h, w = kinds.shape[2:]
    down, across = labels.shape[1] // h, labels.shape[2] // w
    nearest = labels[:, down // 2 :: down, across // 2 :: across]  # (B,h,w)
    none = (1 - kinds.sum(1, keepdim=True)).clamp(min=0)
    chances = torch.cat([none, kinds], 1).clamp(min=_LEAST_CHANCE)
    counts = (nearest != VOID).sum().clamp(min=1)
    return F.nll_loss(chances.log(), nearest, ignore_index=VOID, reduction="sum") / counts


def without(kinds: Tensor, classes: Tensor) -> Tensor:
    """Kinds (B,L,h,w) of images in which one class each (B,), 1-based, counts as none of the kinds; 0: none does."""
    if not kinds.shape[1]:
        return kinds
    hidden = F.one_hot(classes, kinds.shape[1] + 1)[:, 1:]  # (B,L)
    return kinds * (1 - hidden)[:, :, None, None]
