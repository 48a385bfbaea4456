"""Where the right gallery entries stand in a ranked list, and what a benchmark makes of that.

    counted, right = masks(queries, gallery)                       # who counts, who is right
    scores = score(right_ranks(similarity, counted, right))        # of every query
    scores.cmc((1, 5, 10)), scores.mean("ap"), scores.mean("inp")

Pure functions of tensors, on any device.

**Ties.** Of entries that are equally similar the wrong ones stand before the right ones. So a figure depends neither
on the gallery's order nor on a sort's habits, and an embedding that gives everything one score gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.reid.rules import Identities, Rule, masks

_CELLS: Final = 8_000_000  # similarities held at a time: 64 MB of them, and some masks
_FEW: Final = 4  # right entries a query, up to which counting beats sorting


@dataclass(frozen=True, eq=False)
class QueryScores:
    """What each of Q queries achieved. Queries without a right entry have `right` 0, and NaN everywhere else.

    Attributes:
        right: (Q,) int64, the number of right entries that count.
        first: (Q,) float64, the rank of the first of them, from 0.
        ap: (Q,) average precision in [0, 1]: the mean of the precisions at the right entries, as today's code has it.
        ap_trapezoid: (Q,) the same by the trapezoid rule of Market-1501's own code, never higher: at a right entry it
            takes the mean of the precisions there and one rank before.
        inp: (Q,) right entries over the length of the list that holds them all (Ye et al., 2021, equation 5).
    """

    right: Tensor
    first: Tensor
    ap: Tensor
    ap_trapezoid: Tensor
    inp: Tensor

    @property
    def answerable(self) -> Tensor:
        """(Q,) bool: queries that have a right entry. The others count nowhere, as in the published evaluations."""
        return self.right > 0

    def hits(self, k: int) -> Tensor:
        """(Q,) float64: 1 where a right entry is among the first k, NaN where there is none."""
        if k < 1:
            raise ConfigError(f"CMC is asked for at rank {k}: must be 1 or more")
        return torch.where(self.answerable, (self.first < k).double(), torch.nan)

    def mean(self, name: str) -> float:
        """The mean of "ap", "ap_trapezoid" or "inp" over the queries that have an answer; NaN without any."""
        values: Tensor = getattr(self, name)
        return float(values[self.answerable].mean())

    def cmc(self, ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
        """{k: the share of queries with a right entry among their first k}; queries without an answer don't count."""
        return {k: float(self.hits(k)[self.answerable].mean()) for k in ks}

    def cpu(self) -> QueryScores:
        """The same on the CPU."""
        return QueryScores(*(getattr(self, one.name).cpu() for one in fields(QueryScores)))

    @staticmethod
    def cat(parts: Iterable[QueryScores]) -> QueryScores:
        """Several queries' scores as one."""
        found = list(parts)
        return QueryScores(*(torch.cat([getattr(part, one.name) for part in found]) for one in fields(QueryScores)))


def right_ranks(similarity: Tensor, counted: Tensor, right: Tensor) -> Tensor:
    """The ranks, from 0, at which the right entries stand in each query's list.

    Args:
        similarity: (Q,G), higher is nearer; a distance does, negated.
        counted: (Q,G) bool: entries that stand in the list.
        right: (Q,G) bool: those of them that are right.

    Returns:
        (Q,R) int64, ascending along a row; R is the most that a query has, and rows are filled up with -1. Of equal
        similarities the wrong entries come first.

    Raises:
        ShapeError: shapes that differ, or a similarity that is no number.
    """
    if similarity.ndim != 2 or not similarity.shape == counted.shape == right.shape:
        shapes = [tuple(one.shape) for one in (similarity, counted, right)]
        raise ShapeError(f"similarity, counted and right must be (Q,G) all three, got {shapes}")
    if not torch.isfinite(similarity).all():
        raise ShapeError("a similarity is NaN or infinite; ranks need numbers")
    right = right & counted
    number = right.sum(dim=1)  # (Q,)
    most = int(number.max()) if number.numel() else 0
    near = similarity.masked_fill(~right, -torch.inf).topk(most, dim=1).values  # (Q,R), descending
    wrong = similarity.masked_fill(~counted | right, -torch.inf)  # (Q,G)
    place = torch.arange(most, device=similarity.device)
    return torch.where(place < number[:, None], _at_least(wrong, near) + place, -1)


def _at_least(values: Tensor, limits: Tensor) -> Tensor:
    """How many of each row's values (Q,G) are no less than each of its limits: (Q,R) int64."""
    if limits.shape[1] <= _FEW:
        counts = [(values >= limit[:, None]).sum(dim=1) for limit in limits.unbind(dim=1)]
        return torch.stack(counts, dim=1) if counts else torch.zeros_like(limits, dtype=torch.int64)
    return values.shape[1] - torch.searchsorted(values.sort(dim=1).values, limits)


def score(ranks: Tensor) -> QueryScores:
    """What queries achieve whose right entries stand at `ranks`, as `right_ranks` gives them (Q,R)."""
    number = (ranks >= 0).sum(dim=1)
    place = torch.arange(ranks.shape[1], device=ranks.device)
    there = place < number[:, None]  # (Q,R)
    rank = ranks.double()
    precision = (place + 1) / (rank + 1)
    before = torch.where(ranks > 0, place / rank, 1.0)  # precision one rank earlier; 1 before the first rank
    missing = torch.full((len(ranks),), torch.nan, dtype=torch.float64, device=ranks.device)
    if not ranks.shape[1]:
        return QueryScores(number, missing, missing, missing, missing)

    def mean(values: Tensor) -> Tensor:
        return torch.where(number > 0, values.masked_fill(~there, 0.0).sum(dim=1) / number, missing)

    last = rank.gather(1, (number - 1).clamp(min=0)[:, None])[:, 0]
    return QueryScores(
        right=number,
        first=torch.where(number > 0, rank[:, 0], missing),
        ap=mean(precision),
        ap_trapezoid=mean((before + precision) / 2),
        inp=torch.where(number > 0, number / (last + 1), missing),
    )


def score_rows(
    rows: Iterable[Tensor], queries: Identities, gallery: Identities, rules: Sequence[Rule] = (masks,)
) -> list[QueryScores]:
    """Scores of similarities that come a few queries at a time: memory doesn't grow with their number.

    Args:
        rows: (q,G) similarities each, of the queries in order, together Q of them.
        queries: Q of them.
        gallery: G of them.
        rules: who counts and who is right: `masks`, or draws of `one_each`.

    Returns:
        for each rule the scores (Q,), on the CPU.

    Raises:
        ShapeError: other shapes, or a similarity that is no number.
    """
    found: list[list[QueryScores]] = [[score(torch.empty((0, 0), dtype=torch.int64))] for _ in rules]
    start = 0
    for similarity in rows:
        some = queries.take(slice(start, start + len(similarity))).to(similarity.device)
        all_of_it = gallery.to(similarity.device)
        start += len(similarity)
        for rule, parts in zip(rules, found, strict=True):
            parts.append(score(right_ranks(similarity, *rule(some, all_of_it))).cpu())
    if start != len(queries):
        raise ShapeError(f"similarities of {start} queries for {len(queries)}: give one row for each")
    return [QueryScores.cat(parts) for parts in found]


def score_vectors(
    query_vectors: Tensor, gallery_vectors: Tensor, queries: Identities, gallery: Identities
) -> QueryScores:
    """Scores by cosine and Market-1501's rules, a chunk of queries at a time, on the vectors' device.

    Args:
        query_vectors: (Q,D) unit norm.
        gallery_vectors: (G,D) unit norm.
        queries: Q of them.
        gallery: G of them.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    return score_rows(similarity_rows(query_vectors, gallery_vectors), queries, gallery)[0]


def similarity_rows(query_vectors: Tensor, gallery_vectors: Tensor) -> Iterator[Tensor]:
    """The similarities of some queries at a time, (q,G) each.

    Args:
        query_vectors: (Q,D).
        gallery_vectors: (G,D).

    Raises:
        ShapeError: shapes that don't belong together.
    """
    if query_vectors.ndim != 2 or gallery_vectors.ndim != 2 or query_vectors.shape[1] != gallery_vectors.shape[1]:
        shapes = tuple(query_vectors.shape), tuple(gallery_vectors.shape)
        raise ShapeError(f"expected query vectors (Q,D) and gallery vectors (G,D), got {shapes[0]} and {shapes[1]}")
    for part in torch.split(query_vectors, max(1, _CELLS // max(1, len(gallery_vectors)))):
        yield part @ gallery_vectors.T
