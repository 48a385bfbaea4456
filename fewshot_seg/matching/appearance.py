"""Appearance: how much more each position of a query looks like a support's object than like its surroundings.

What is compared are the backbone's own maps of several depths. Nothing in them was learnt from a matcher's classes, so
they say as much of new classes as of old ones. Early layers know this very thing by its colours and texture, late ones
its kind. What else a support shows, another person beside the one that is meant, is the counter-example.

Shapes: h x w positions of a query, m channels of what is compared, n keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_seg.matching.correspondence import unit

FINE: Final = ("blocks.2", "blocks.3", "blocks.4", "blocks.5")
"""Layers that tell a thing from others of its kind; the first one's grid (stride 8) is the map's."""
COARSE: Final = ("blocks.4", "blocks.5", "blocks.6")
"""Layers that tell a kind, and whether a scene comes again (stride 16)."""
LAYERS: Final = tuple(dict.fromkeys((*FINE, *COARSE)))

_OBJECT = 0.5  # the share of a cell from which on it is the object's
_NEAR = 5  # cells: outside keys so near the object stay fine, the others are averaged by four. Costs 0.5 J on DAVIS
_SURE_POSITIONS = 10  # whose mean is how well a thing is found: one position alone may be chance


class Keys(NamedTuple):
    """Positions of supports to compare with."""

    inside: Tensor  # (n,m) unit norm, of the object; at least one
    outside: Tensor  # (n',m) unit norm, of all else


class Past(NamedTuple):
    """What earlier frames of a sequence say of one object.

    The distance is that of each position from where the object was last, in lengths of the image's longer side.
    """

    keys: Keys  # of the frames that are remembered, on the grid of `FINE`
    distance: Tensor | None  # (h,w) >= 0; None where that is not known, or a scene has changed


def joined(maps: Mapping[str, Tensor], names: Iterable[str]) -> Tensor | None:
    """An image's layers (C_i,h_i,w_i) as one map (m,h,w) of unit norm on the first one's grid; each counts alike.

    None where the backbone gives none of them.
    """
    layers = [maps[name][None].float() for name in names if name in maps]
    if not layers:
        return None
    size = layers[0].shape[2:]
    same = (one if one.shape[2:] == size else F.interpolate(one, size, mode="bilinear") for one in layers)
    stacked: Tensor = torch.cat([unit(one)[0] for one in same]) / len(layers) ** 0.5
    return stacked


def keys_of(vectors: Tensor, foreground: Tensor) -> Keys:
    """A support's positions (m,h,w) as keys, by a foreground (h,w) in [0, 1]: from half on, or its largest value."""
    inside = foreground >= min(_OBJECT, float(foreground.max()))
    return keys_where(vectors, inside, ~inside)


def keys_where(vectors: Tensor, inside: Tensor, outside: Tensor) -> Keys:
    """Positions (m,h,w) as keys where they are known: (h,w) bool of the object, (h,w) bool of all else."""
    near = F.max_pool2d(inside[None].float(), _NEAR, 1, _NEAR // 2)[0] > 0
    fine = vectors.flatten(1)
    pooled = unit(F.avg_pool2d(vectors[None], 2))[0].flatten(1)
    far = F.avg_pool2d((outside & ~near)[None].float(), 2)[0] == 1
    kept = torch.cat([fine[:, (near & outside).flatten()], pooled[:, far.flatten()]], 1)
    return Keys(fine[:, inside.flatten()].T, kept.T)


def together(keys: Iterable[Keys]) -> Keys:
    """Several supports' keys as one set."""
    inside, outside = zip(*keys, strict=True)
    return Keys(torch.cat(inside), torch.cat(outside))


def margin(query: Tensor, keys: Keys, floor: float = -1.0) -> Tensor:
    """(h,w) in [-2, 2]: the cosine of each position (m,h,w) to the nearest inside key minus that to an outside one.

    The floor is the least that counts for outside: a support cut out close has too little around its object.
    """
    inside, outside = _nearest(query, keys)
    return inside - outside.clamp(min=floor)


def likeness(query: Tensor, keys: Keys) -> float:
    """How alike the scenes of a query (m,h,w) and of supports are: the median position's cosine to the nearest key."""
    return float(torch.maximum(*_nearest(query, keys)).median())


def found_again(query: Tensor, keys: Keys) -> float:
    """The mean over the object's keys of the cosine to the position (m,h,w) of the query that is nearest to each."""
    return float((keys.inside @ query.flatten(1)).amax(1).mean())


def sure_mean(values: Tensor) -> float:
    """The mean of the largest few values (h,w)."""
    flat = values.flatten()
    return float(flat.topk(min(_SURE_POSITIONS, len(flat))).values.mean())


def _nearest(query: Tensor, keys: Keys) -> tuple[Tensor, Tensor]:
    positions = query.flatten(1)
    inside = (keys.inside @ positions).amax(0)
    outside = (keys.outside @ positions).amax(0) if len(keys.outside) else torch.full_like(inside, -1)
    return inside.view(query.shape[1:]), outside.view(query.shape[1:])
