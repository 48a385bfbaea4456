"""The part-based convolutional baseline (PCB) for re-identification: one embedding a horizontal stripe, end to end.

Sun et al., "Beyond Part Models" (arXiv 1711.09349), on which the paper builds its re-identification (section 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.heads import Head, PooledHead

__all__ = ["PCBHead"]


class PCBHead(Head):
    """Stripes of the map from top to bottom, each with pooling and a neck of its own, put end to end.

    It has no closed form of equation 1: attention takes autograd through the head alone, which is as exact.

    Args:
        channels: C of the feature map.
        stripes: how many. A map of fewer rows than that gives stripes that overlap.
        pooling: of each stripe, as `PooledHead` takes it.
        neck: of each stripe, as `PooledHead` takes it.
        dim: length of one stripe's part; None means C. The vector's length D, `self.dim`, is `stripes` times that.

    Raises:
        ConfigError: no stripes, or what `PooledHead` refuses.
    """

    def __init__(
        self,
        channels: int,
        stripes: int = 6,
        pooling: str = "avg",
        neck: str | None = "linear",
        dim: int | None = None,
    ) -> None:
        super().__init__()
        if stripes < 1:
            raise ConfigError(f"a PCB head needs at least one stripe, got {stripes}")
        parts = [PooledHead(channels, pooling, neck, dim) for _ in range(stripes)]
        self.channels = channels
        self.dim = sum(part.dim for part in parts)
        self.parts = nn.ModuleList(parts)

    def project(self, feature_map: Tensor) -> Tensor:
        """The parts' vectors end to end (B,D), before unit norm, of A (B,C,h,w).

        Raises:
            ShapeError: another number of channels.
        """
        if feature_map.ndim != 4 or feature_map.shape[1] != self.channels:
            raise ShapeError(f"expected a feature map (B, {self.channels}, h, w), got {tuple(feature_map.shape)}")
        h, number = feature_map.shape[2], len(self.parts)
        vectors: list[Tensor] = []
        for i, part in enumerate(self.parts):
            assert isinstance(part, PooledHead)
            first, last = i * h // number, -(-(i + 1) * h // number)  # as adaptive pooling cuts
            vectors.append(part.project(feature_map[:, :, first:last]))
        return torch.cat(vectors, dim=1)
