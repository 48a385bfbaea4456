"""The part-based convolutional baseline (PCB) for re-identification: one embedding a horizontal stripe, end to end.

Sun et al., "Beyond Part Models" (arXiv 1711.09349), on which the paper builds its re-identification (section 3.2).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError
from fewshot_seg.network.heads import Head, PooledHead, check_map, check_vector

_EMPTY = 1e-6
"""A part that no position belongs to is divided by this, not by 0."""


class PCBHead(Head):
    """Parts of the map, each with pooling and a neck of its own, put end to end.

    The parts are stripes from top to bottom. With refined part pooling (section 4 of "Beyond Part Models") a learned
    layer says instead, for each position, how much it belongs to each of the parts, and a part's vector is the mean
    of the map with these weights; that begins when `refined`, which is 0 at first, is set to 1, for the layer has to
    learn from parts that stripes have made.

    Stripes have a closed form of equation 1 where their necks have one: a stripe's own, by the share of the map that
    it covers, summed. Refined parts take autograd through the head alone, which is as exact.

    Args:
        channels: C of the feature map.
        stripes: how many. A map of fewer rows than that gives stripes that overlap.
        pooling: of each stripe, as `PooledHead` takes it.
        neck: of each part, as `PooledHead` takes it.
        dim: length of one part; None means C. The vector's length D, `self.dim`, is `stripes` times that.
        refining: whether there is a layer for refined part pooling.

    Raises:
        ConfigError: no stripes, what `PooledHead` refuses, or refined parts with another pooling than "avg".
    """

    refined: Tensor

    def __init__(
        self,
        channels: int,
        stripes: int = 6,
        pooling: str = "avg",
        neck: str | None = "linear",
        dim: int | None = None,
        refining: bool = False,
    ) -> None:
        super().__init__()
        if stripes < 1:
            raise ConfigError(f"a PCB head needs at least one stripe, got {stripes}")
        if refining and pooling != "avg":
            raise ConfigError(f"refined part pooling takes means: use pooling avg, not {pooling}")
        parts = [PooledHead(channels, pooling, neck, dim) for _ in range(stripes)]
        self.channels = channels
        self.dim = sum(part.dim for part in parts)
        self.parts = nn.ModuleList(parts)
        self.assign = nn.Conv2d(channels, stripes, 1) if refining else None
        if refining:
            self.register_buffer("refined", torch.zeros((), dtype=torch.uint8))

    @property
    def is_refined(self) -> bool:
        """Whether the parts are the refined ones now."""
        return self.assign is not None and bool(self.refined)

    def pool(self, feature_map: Tensor) -> Tensor:
        """The pooled parts (B, stripes, C) of A (B,C,h,w), before their necks."""
        check_map(feature_map, self.channels)
        if self.is_refined:
            return self._refined_parts(feature_map)
        stripes = [feature_map[:, :, first:last] for first, last in self._bounds(feature_map.shape[2])]
        return torch.stack([part.pool(stripe) for part, stripe in zip(self._necks(), stripes, strict=True)], 1)

    def project(self, feature_map: Tensor) -> Tensor:
        """The parts' vectors end to end (B,D), before unit norm, of A (B,C,h,w)."""
        pooled = self.pool(feature_map).unbind(1)
        return torch.cat([part.apply_neck(one) for part, one in zip(self._necks(), pooled, strict=True)], dim=1)

    @property
    def has_closed_form(self) -> bool:
        """Whether `averaged_gradient` holds now: for stripes whose necks have a closed form."""
        return not self.is_refined and all(part.has_closed_form for part in self._necks())

    def averaged_gradient(self, feature_map: Tensor, u: Tensor) -> Tensor:
        """See `Head.averaged_gradient`: the stripes' own, each by the share of the positions that it has."""
        if self.is_refined:
            raise ConfigError("no closed form for refined parts: use autograd")
        check_map(feature_map, self.channels)
        check_vector(u, self.dim)
        h = feature_map.shape[2]
        total = feature_map.new_zeros(feature_map.shape[:2])  # (B,C)
        us = torch.split(u, [part.dim for part in self._necks()], dim=1)
        for part, one, (first, last) in zip(self._necks(), us, self._bounds(h), strict=True):
            total = total + part.averaged_gradient(feature_map[:, :, first:last], one) * ((last - first) / h)
        return total

    def _refined_parts(self, feature_map: Tensor) -> Tensor:
        """(B, stripes, C): the mean of A over its positions, weighted by the softmax over the parts."""
        assert self.assign is not None
        shares = self.assign(feature_map).softmax(dim=1).flatten(2)  # (B,stripes,hw)
        sums = torch.einsum("bsp,bcp->bsc", shares, feature_map.flatten(2))
        parts: Tensor = sums / shares.sum(2, keepdim=True).clamp_min(_EMPTY)
        return parts

    def _bounds(self, h: int) -> list[tuple[int, int]]:
        """The stripes' first rows and the rows after their last, as adaptive pooling cuts."""
        number = len(self.parts)
        return [(i * h // number, -(-(i + 1) * h // number)) for i in range(number)]

    def _necks(self) -> list[PooledHead]:
        return [cast("PooledHead", part) for part in self.parts]
