"""Small embedders and batches in float64, for tests of losses and mining."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fewshot_seg.network.embedding import Embedder, EmbedderSpec, PooledHead

CHANNELS, DIM, SIZE = 6, 5, 12


def unit(rows: int, dim: int = DIM, seed: int = 0) -> Tensor:
    """Unit vectors (rows,dim), float64."""
    f = torch.randn(rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(f, dim=1)


def pictures(count: int, seed: int = 0) -> Tensor:
    """Normalised images (count,3,SIZE,SIZE), float64."""
    return torch.randn(count, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tiny_embedder(pooling: str = "avg", neck: str | None = "linear", smooth: bool = True, seed: int = 0) -> Embedder:
    """Two convolutions and a head, float64. Smooth activations let finite differences be taken anywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        activation = nn.Softplus if smooth else nn.ReLU
        trunk = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), activation(), nn.Conv2d(4, CHANNELS, 3, padding=1), activation()
        )
        dim = DIM if neck in ("linear", "linear+bn") else CHANNELS
        return Embedder(trunk, PooledHead(CHANNELS, pooling, neck, dim), EmbedderSpec("default", dim=dim)).double()
