"""Query expansion: a query becomes the mean of itself and what it finds first.

Average: Chum et al., "Total Recall" (ICCV 2007). α: Radenović et al., "Fine-tuning CNN Image Retrieval with No Human
Annotation" (TPAMI 2019): the nearest are weighted by their similarity to the power α; α 0 is the average.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.retrieval.exact import top_k


@dataclass(frozen=True)
class ExpansionOptions:
    """How queries are expanded. ConfigError: a value that cannot be."""

    number: int = 3  # of nearest gallery entries that are taken in, >= 1
    alpha: float = 0.0  # power of their similarity that they are weighted by, >= 0

    def __post_init__(self) -> None:
        if self.number < 1 or not 0 <= self.alpha < torch.inf:
            raise ConfigError(f"query expansion by {self.number} with alpha {self.alpha!r}: 1 and 0 are the least")


def expand_queries(
    queries: Tensor, gallery: Tensor, options: ExpansionOptions | None = None, own: Tensor | None = None
) -> Tensor:
    """Queries moved towards their nearest gallery entries, whoever these are: no identity or camera is looked at.

    Vectors (Q,D) and (G,D), and the result (Q,D), are of unit norm. `own` (Q,) int64 is each query's own row in the
    gallery, which is passed over; -1 for one that isn't in it.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    options = options or ExpansionOptions()
    if own is not None and own.shape != queries.shape[:1]:
        raise ShapeError(f"expected own (Q,) for {len(queries)} queries, got {tuple(own.shape)}")
    found = top_k(queries, gallery, options.number + (own is not None))
    weights = found.scores.clamp(min=0).pow(options.alpha)  # (Q,k)
    if own is not None:
        itself = found.rows == own.to(found.rows.device)[:, None]
        last = torch.arange(weights.shape[1], device=weights.device) == options.number
        passed = itself | (last & ~itself.any(dim=1, keepdim=True))  # one more was looked for
        weights = weights.masked_fill(passed, 0.0)
    near = gallery.to(queries.device)[found.rows]  # (Q,k,D)
    return torch.nn.functional.normalize(queries + (weights[..., None].to(near.dtype) * near).sum(dim=1), dim=1)
