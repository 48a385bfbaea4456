"""What a bare example may mean: maps of its things, found without a name by clustering what the network says of it.

The positions that are some object fall into one, two and three clusters (spherical k-means, begun farthest first, so
nothing is random); the connected parts of each are candidates, the largest and most central first.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.matching.appearance import COARSE, joined
from fewshot_seg.matching.correspondence import unit
from fewshot_seg.matching.features import Features

_CLUSTERS: Final = (1, 2, 3)
_ROUNDS: Final = 10
_SHARPNESS: Final = 10.0  # of a cosine, as a logit of belonging to a cluster
_OBJECT: Final = 0.4  # a position belongs to some object, or to a candidate, from here on
_LEAST: Final = 0.02  # of the grid, that a candidate covers
_ALIKE: Final = 0.7  # IoU from which on two candidates are one


def candidate_maps(features: Features) -> list[NDArray[np.float32]]:
    """Maps (h,w) in [0, 1] of the things that an example may mean, the likeliest first; none without a matcher."""
    if features.encoded is None:
        return []
    objectness = torch.sigmoid(features.encoded.objectness)  # (h,w)
    h, w = objectness.shape
    vectors = unit(features.encoded.vectors[None])[0].flatten(1)  # (m,n)
    coarse = joined(features.maps, COARSE)
    if coarse is not None:
        seen = unit(F.interpolate(coarse[None], (h, w), mode="bilinear"))[0].flatten(1)
        vectors = torch.cat([vectors, seen]) / 2**0.5
    weight = (objectness * (objectness > _OBJECT)).flatten()
    if not weight.any():
        return []
    softs = [
        soft
        for count in _CLUSTERS
        for soft in torch.softmax(_SHARPNESS * _centres(vectors, weight, count) @ vectors, 0).view(count, h, w)
    ]
    found = [part for soft in softs for part in _parts((soft * objectness).float().cpu().numpy())]
    found.sort(key=lambda map_: -_prominence(map_ > _OBJECT))
    kept: list[NDArray[np.float32]] = []
    for map_ in found:
        if all(_iou(map_ > _OBJECT, other > _OBJECT) < _ALIKE for other in kept):
            kept.append(map_)
    return kept


def _centres(vectors: Tensor, weight: Tensor, count: int) -> Tensor:
    """Unit vectors (count,m) of the clusters of vectors (m,n) by weight (n,)."""

    def farthest(cosines: Tensor) -> Tensor:
        return vectors[:, cosines.masked_fill(weight == 0, torch.inf).argmin()]

    centres = farthest(F.normalize((vectors * weight).sum(1), dim=0) @ vectors)[None]
    while len(centres) < count:
        centres = torch.cat([centres, farthest((centres @ vectors).amax(0))[None]])
    for _ in range(_ROUNDS):
        own = F.one_hot((centres @ vectors).argmax(0), count).T * weight  # (count,n)
        moved = F.normalize(own @ vectors.T, dim=1)
        centres = torch.where(own.sum(1, keepdim=True) > 0, moved, centres)
    return centres


def _parts(map_: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """A map's connected parts, each with the lower values right around it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((map_ > _OBJECT).astype(np.uint8), connectivity=8)
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= _LEAST * map_.size]
    around = np.ones((3, 3), np.uint8)
    return [
        map_ * ((labels == n) | ((labels == 0) & (cv2.dilate((labels == n).astype(np.uint8), around) > 0)))
        for n in large
    ]


def _prominence(part: NDArray[np.bool_]) -> float:
    """How large (its side) and how central (h,w) is, in [0, 1]."""
    rows, columns = np.nonzero(part)
    h, w = part.shape
    off = np.hypot((rows.mean() + 0.5) / h - 0.5, (columns.mean() + 0.5) / w - 0.5) / np.hypot(0.5, 0.5)
    return float(part.mean() ** 0.5 * (1 - off))


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())
