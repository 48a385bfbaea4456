"""Erasing what attention lights up, and the losses of the erased images: equation 2 and its two siblings.

Pure functions of tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_seg.attention.maps import scale_maps
from fewshot_seg.errors import ShapeError


def soft_mask(images: Tensor, maps: Tensor, alpha: float, beta: float) -> Tensor:
    """The images without what the maps light up: ``x * (1 - sigmoid(alpha (Z - beta)))``.

    Each map is scaled to [0, 1] by its largest value and brought to the images' size bilinearly: that is Z.

    **Images are normalised** (`imaging.images.preprocess`): their 0 is the mean colour, so erasing fades to the
    mean colour, not to black, which would be an edge of its own. A map of zeros keeps
    ``1 - sigmoid(-alpha beta)`` of the image everywhere.

    Args:
        images: (B,3,H,W), normalised.
        maps: (B,h,w), >= 0, of any scale.
        alpha: slope, > 0.
        beta: threshold in [0, 1].

    Returns:
        (B,3,H,W), differentiable in images and maps.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    if images.ndim != 4 or maps.ndim != 3 or len(images) != len(maps):
        raise ShapeError(f"expected images (B,3,H,W) and maps (B,h,w), got {tuple(images.shape)}, {tuple(maps.shape)}")
    scaled = scale_maps(maps)[:, None]  # (B,1,h,w)
    z = functional.interpolate(scaled, size=images.shape[2:], mode="bilinear", align_corners=False)  # (B,1,H,W)
    # 1 - sigmoid(x) = sigmoid(-x), which doesn't round to 0.
    return images * torch.sigmoid(alpha * (beta - z)).to(images.dtype)


def pair_mining_loss(f1: Tensor, f2: Tensor) -> Tensor:
    """``-||f1* - f2*||``, the mean over T same-class pairs of erased images.

    f1 and f2 are (T,D) embeddings of the first and second images, erased.

    Returns:
        A scalar <= 0; 0, with a graph, for T = 0.

    Raises:
        ShapeError: not (T,D) of one shape.
    """
    return _mean(-_distance(f1, f2))


def triplet_mining_loss(fa: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """Equation 2, ``| ||fa* - fp*|| - ||fa* - fn*|| |``, the mean over T triplets of erased images.

    fa, fp, fn are (T,D) embeddings of the anchors, positives and negatives, erased.

    Returns:
        A scalar >= 0; 0, with a graph, for T = 0.

    Raises:
        ShapeError: not (T,D) of one shape.
    """
    return _mean((_distance(fa, fp) - _distance(fa, fn)).abs())


def quadruplet_mining_loss(fa: Tensor, fp: Tensor, fn1: Tensor, fn2: Tensor) -> Tensor:
    """Equation 2 over (a, p, n1) plus equation 2 over (a, p, n2).

    fa, fp, fn1, fn2 are (T,D) embeddings of the anchors, positives, first and second negatives, erased.

    Returns:
        A scalar >= 0; 0, with a graph, for T = 0.

    Raises:
        ShapeError: not (T,D) of one shape.
    """
    return triplet_mining_loss(fa, fp, fn1) + triplet_mining_loss(fa, fp, fn2)


def erased_loss(f: Tensor, size: int) -> Tensor:
    """L_sm of the kind that `size` says, of embeddings (size * T, D): all first images, all second ones and so on."""
    parts = f.chunk(size) if len(f) else (f,) * size
    if size == 2:
        return pair_mining_loss(*parts)
    return triplet_mining_loss(*parts) if size == 3 else quadruplet_mining_loss(*parts)


def _distance(f: Tensor, g: Tensor) -> Tensor:
    """(T,). Gradient 0 where f equals g."""
    if f.ndim != 2 or f.shape != g.shape:
        raise ShapeError(f"expected embeddings of one shape (T,D), got {tuple(f.shape)}, {tuple(g.shape)}")
    distance: Tensor = torch.linalg.vector_norm(f - g, dim=1)
    return distance


def _mean(terms: Tensor) -> Tensor:
    return terms.mean() if len(terms) else terms.sum()
