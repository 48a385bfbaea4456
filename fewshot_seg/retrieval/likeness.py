"""How alike two regions of images are: an embedder's vector of a part of its map, and class evidence that two share.

Shapes: B images, C channels and h0 x w0 positions of the last map, D dimensions of the vector, L classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_seg.errors import ShapeError
from fewshot_seg.network.embedding import Embedder

FLOOR = 0.05
"""Every position counts at least this much: a map may be wrong, and what is around an object says something, too."""

_EVIDENCE_POWER = 0.25  # 0.125 to 0.5 ranked as well to within 0.2 points, without evidence it was 2 points worse


def _weights(feature_map: Tensor, soft: Tensor) -> Tensor:
    """(B,1,h0,w0): a soft foreground (B,h,w) on the map's own grid, nowhere 0."""
    if feature_map.ndim != 4 or soft.ndim != 3 or len(soft) != len(feature_map):
        raise ShapeError(f"expected (B,C,h0,w0) and (B,h,w), got {tuple(feature_map.shape)} and {tuple(soft.shape)}")
    size = feature_map.shape[2], feature_map.shape[3]
    return F.adaptive_avg_pool2d(soft.to(feature_map)[:, None], size) + FLOOR


def pooled_region(feature_map: Tensor, soft: Tensor) -> Tensor:
    """The last map averaged over a region.

    Args:
        feature_map: A (B,C,h0,w0).
        soft: (B,h,w) in [0, 1] on any grid: how much each position belongs to the region.

    Returns:
        (B,C).

    Raises:
        ShapeError: shapes that don't belong together.
    """
    weight = _weights(feature_map, soft)
    total: Tensor = (feature_map * weight).sum((2, 3)) / weight.sum((2, 3))
    return total


def region_vectors(embedder: Embedder, feature_map: Tensor, soft: Tensor) -> Tensor:
    """The embedder's vectors of regions: its head on maps weighted by them, so that they compare with whole images'.

    With average pooling that is exactly the vector of a map that shows the region alone; with other poolings it is
    near that.

    Args:
        embedder: whose head.
        feature_map: A (B,C,h0,w0) of the same embedder.
        soft: as in `pooled_region`.

    Returns:
        (B,D) of unit norm.

    Raises:
        ShapeError: as `pooled_region`.
    """
    weight = _weights(feature_map, soft)
    vectors: Tensor = embedder.head(feature_map * (weight / weight.mean((2, 3), keepdim=True)))
    return vectors


def shared_evidence(classifier: Tensor, region: Tensor, other: Tensor) -> Tensor:
    """The probability that the backbone's classifier names two regions alike, if each name is drawn from its own.

    Args:
        classifier: (L,C) weights of the backbone's own last layer. Its bias, what is frequent in its training, is
            left out.
        region: (B,C), from `pooled_region`.
        other: (B or 1,C).

    Returns:
        (B,) in [0, 1].
    """
    names, others = (torch.softmax(F.linear(part, classifier), dim=1) for part in (region, other))
    return (names * others).sum(1)


def region_likeness(vectors: Tensor, wanted: Tensor, evidence: Tensor | None) -> Tensor:
    """One number to rank regions by: cosine, and class evidence where there is any.

    Args:
        vectors: (B,D) of unit norm.
        wanted: (D,) of unit norm.
        evidence: (B,), from `shared_evidence`.

    Returns:
        (B,) in [0, 1]: the cosine, at least 0, times the fourth root of the evidence.
    """
    cosine = (vectors @ wanted).clamp(0, 1)
    return cosine if evidence is None else cosine * evidence**_EVIDENCE_POWER
