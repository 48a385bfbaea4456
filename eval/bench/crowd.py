"""Random vectors for the comparisons of searches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

_PIECE: Final = 65536  # vectors that are drawn at once


@dataclass(frozen=True)
class Crowd:
    """Random vectors of unit norm, around random centres where there are any.

    Attributes:
        gallery, queries: how many; no query is in the gallery.
        dim: of a vector.
        centres: how many of unit norm; 0 for none.
        spread: of a centre's vectors, in lengths of the centre.
        seed: of them all.
    """

    gallery: int
    queries: int
    dim: int
    centres: int = 0
    spread: float = 1.0
    seed: int = 0

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Queries (Q,D) and gallery (N,D), float32, without a second copy of them all on the way."""
        generator = torch.Generator().manual_seed(self.seed)
        centres = normalize(torch.randn(self.centres, self.dim, generator=generator), dim=1)
        both = torch.empty(self.queries + self.gallery, self.dim)
        for part in torch.split(both, _PIECE):
            part.normal_(generator=generator)
            if self.centres:
                part *= self.spread / self.dim**0.5
                part += centres[torch.randint(0, self.centres, (len(part),), generator=generator)]
            normalize(part, dim=1, out=part)
        return both[: self.queries], both[self.queries :]

    def shrunk(self, count: int) -> Crowd:
        """`count` vectors in all, about as many queries to a gallery vector and vectors to a centre."""
        whole = self.queries + self.gallery
        if count >= whole:
            return self
        queries, centres = (max(1, number * count // whole) for number in (self.queries, self.centres))
        return replace(self, queries=queries, gallery=max(1, count - queries), centres=centres)

    @property
    def mib(self) -> float:
        """Of the vectors themselves."""
        return (self.queries + self.gallery) * self.dim * 4 / 2**20
