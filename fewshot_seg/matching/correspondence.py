"""Dense correspondence: how much each position of an image looks like the object, and unlike the rest, of others.

An image's positions are compared with *keys*: positions of the supports, or of any other image whose foreground
is known or guessed. Every key has two weights, how much it is foreground and how much background; a support
without a mask brings its own attention as its soft foreground. Pure functions of tensors.

Shapes: B images, m dimensions, h x w positions, n keys.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_seg.errors import ShapeError

SIMILARITIES = ("neighbour margin", "foreground neighbour", "prototype margin", "foreground prototype")
"""What `similarities` gives, in order."""

_FLOOR = 1e-3  # a key counts at least this share of its weight on either side: a guess may be wrong
_NOTHING = 1e-12  # the logarithm of a key's weight stays finite
_AT_ONCE = {"cpu": 2**19, "other": 2**24}
"""Similarities at a time: 2 MB stay in a processor's cache: three times as fast; 64 MB are a bound for a GPU."""

_COARSER = 2  # keys are averaged over this many positions a side: a quarter of them says as much, four times as fast


class Keys(NamedTuple):
    """Positions to compare with."""

    vectors: Tensor  # (B,m,n) unit norm
    foreground: Tensor  # (B,n) weights in [0, 1]; where those of the background are 0, too, it says nothing
    background: Tensor  # (B,n)


def keys_of(vectors: Tensor, foreground: Tensor, known: Tensor | None = None) -> Keys:
    """The keys, n = (h // 2) * (w // 2), of images whose foreground is known or guessed.

    Args:
        vectors: (B,m,h,w) unit norm.
        foreground: (B,h,w) in [0, 1]; the rest of each position is background. ShapeError for another shape.
        known: (B,h,w) in [0, 1]: how much each position counts at all; None means fully.
    """
    b, _, h, w = vectors.shape
    if foreground.shape != (b, h, w) or (known is not None and known.shape != (b, h, w)):
        raise ShapeError(f"expected foreground of shape {(b, h, w)}, got {tuple(foreground.shape)}")
    counts = torch.ones_like(foreground) if known is None else known
    pooled = unit(F.avg_pool2d(vectors, _COARSER)).flatten(2)  # (B,m,n)
    weights = F.avg_pool2d(torch.stack([foreground * counts, (1 - foreground) * counts], 1), _COARSER).flatten(2)
    return Keys(pooled, weights[:, 0], weights[:, 1])


def join(*parts: Keys) -> Keys:
    """The keys of several images as one set: it makes no difference in which of them a key stands."""
    return Keys(*(torch.cat(part, -1) for part in zip(*parts, strict=True)))


def for_each_shot(keys: Keys, k: int) -> Keys:
    """The keys of B queries for each of their B*K shots."""
    return Keys(*(part.repeat_interleave(k, 0) for part in keys))


def of_episodes(keys: Keys, b: int) -> Keys:
    """The keys of B*K shots as B sets (B,m,K*n)."""
    return Keys(*(part.view(b, -1, *part.shape[1:]).movedim(1, -2).flatten(-2) for part in keys))


def of_other_shots(keys: Keys, k: int) -> list[Keys]:
    """For each of B*K shots the keys of the others of its episode: shot j beside shot j + step."""
    own = [part.view(-1, k, *part.shape[1:]) for part in keys]
    return [Keys(*(torch.roll(part, -step, 1).flatten(0, 1) for part in own)) for step in range(1, k)]


def similarities(vectors: Tensor, keys: Keys, sharpness: float | Tensor = 12.0) -> Tensor:
    """How much each position looks like the keys' foreground, and how much more so than like their background.

    Args:
        vectors: (B,m,h,w) unit norm.
        keys: what to compare with.
        sharpness: of the soft maximum over keys; the larger, the nearer it is to the best key alone.

    Returns:
        (B,4,h,w): cosine similarities, or differences of two, in the order of `SIMILARITIES`. Neighbours are
        the soft maximum over keys, ``log(sum_j w_j exp(s c_ij)) / s``; prototypes the weighted means of keys.

    Raises:
        ShapeError: images and keys that don't belong together.
    """
    b, m, h, w = vectors.shape
    n = keys.vectors.shape[2]
    if keys.foreground.shape != (b, n) or keys.background.shape != (b, n):
        found = tuple(keys.foreground.shape), tuple(keys.background.shape)
        raise ShapeError(f"expected weights ({b},{n}), got {found[0]}, {found[1]}")
    if keys.vectors.shape[:2] != (b, m):
        raise ShapeError(f"vectors {tuple(vectors.shape)} and keys {tuple(keys.vectors.shape)} don't belong together")
    queries = vectors.flatten(2)  # (B,m,hw)
    near, far = _neighbours(queries, keys, sharpness).unbind(2)  # (B,hw) each
    alike, unlike = (
        torch.einsum("bmp,bm->bp", queries, unit((keys.vectors * weight[:, None]).sum(2)))
        for weight in (keys.foreground, keys.background)
    )
    return torch.stack([near - far, near, alike - unlike, alike], 1).view(b, 4, h, w)


def _neighbours(queries: Tensor, keys: Keys, sharpness: float | Tensor) -> Tensor:
    """(B,p,2): the soft maxima over the keys' foreground and background, for positions (B,m,p)."""
    b, _, p = queries.shape
    n = max(1, keys.vectors.shape[2])
    scaled = (queries * sharpness).transpose(1, 2)  # (B,p,m): before the product, which is far larger
    least = _FLOOR * (keys.foreground + keys.background) + _NOTHING
    weights = torch.stack([keys.foreground + least, keys.background + least], 2)  # (B,n,2)
    at_once = _AT_ONCE["cpu" if queries.device.type == "cpu" else "other"]
    images, positions = max(1, at_once // (p * n)), max(1, at_once // n)
    if images >= b:
        return _soft_maxima(scaled, keys.vectors, weights, sharpness)
    parts = []
    for i in range(0, b, images):
        own = slice(i, i + images)
        rows = [
            _soft_maxima(scaled[own, j : j + positions], keys.vectors[own], weights[own], sharpness)
            for j in range(0, p, positions)
        ]
        parts.append(torch.cat(rows, 1))
    return torch.cat(parts)


def _soft_maxima(scaled: Tensor, vectors: Tensor, weights: Tensor, sharpness: float | Tensor) -> Tensor:
    """(B,p,2) from positions (B,p,m), times the sharpness, keys (B,m,n) and their weights (B,n,2)."""
    products = torch.bmm(scaled, vectors)  # (B,p,n)
    peak = products.detach().amax(2, keepdim=True)  # (B,p,1)
    # The logarithms of two weighted sums of the same exponentials, which are most of the work: they are made once.
    return (torch.bmm(torch.exp(products - peak), weights).log() + peak) / sharpness


def unit(vectors: Tensor) -> Tensor:
    """Vectors along dimension 1 brought to unit norm; zeros stay zeros."""
    return F.normalize(vectors, dim=1)


def resized(maps: Tensor, size: torch.Size) -> Tensor:
    """(B,c,h',w') -> (B,c,h,w): finer maps are averaged, coarser ones interpolated."""
    if maps.shape[2:] == size:
        return maps
    if maps.shape[2] > size[0]:
        return F.adaptive_avg_pool2d(maps, (size[0], size[1]))
    return F.interpolate(maps, (size[0], size[1]), mode="bilinear", align_corners=False)
