"""Who counts in a query's ranked list and who is right, where the right ones stand, and what a benchmark makes of that.

    counted, right = masks(queries, gallery)                       # who counts, who is right
    scores = score(right_ranks(similarity, counted, right))        # of every query
    scores.cmc((1, 5, 10)), scores.mean("ap"), scores.mean("inp")

The rules are Market-1501's (Zheng et al., ICCV 2015), which every later set kept. Pure functions of tensors, on any
device; Q queries, G gallery entries.

**Ties.** Of entries that are equally similar the wrong ones stand before the right ones. So a figure depends neither
on the gallery's order nor on a sort's habits, and an embedding that gives everything one score gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError

JUNK: Final = -1
"""The identity of detections that are nobody: they stand in no list."""

_CELLS: Final = 8_000_000  # similarities held at a time: 64 MB of them, and some masks
_FEW: Final = 4  # right entries a query, up to which counting beats sorting


@dataclass(frozen=True, eq=False)
class Identities:
    """Who is in each of N images, and which camera took it.

    Attributes:
        ids: (N,) whole numbers; `JUNK` is nobody.
        cameras: (N,) whole numbers; None where they aren't known.
        items: (N,) whole numbers, the same for the same image: what tells that a gallery entry is the query itself.
            None: no query is in the gallery.
        distractor: this identity is many people, and none that a query asks for: its entries are wrong for everybody.

    Raises:
        ShapeError: lengths that differ, not one axis, or no whole numbers.
    """

    ids: Tensor
    cameras: Tensor | None = None
    items: Tensor | None = None
    distractor: int | None = None

    def __post_init__(self) -> None:
        for name in ("ids", "cameras", "items"):
            values = getattr(self, name)
            if values is not None and (values.ndim != 1 or values.shape != self.ids.shape):
                raise ShapeError(f"{name} must be (N,), as long as ids, got {tuple(values.shape)}")
            if values is not None and (values.is_floating_point() or values.dtype is torch.bool):
                raise ShapeError(f"{name} must be whole numbers, got {values.dtype}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: Tensor | slice) -> Identities:
        """Some of them, in this order."""
        return self._each(lambda values: values[places])

    def to(self, device: torch.device) -> Identities:
        """The same on another device."""
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Identities:
        cameras, items = (None if values is None else change(values) for values in (self.cameras, self.items))
        return Identities(change(self.ids), cameras, items, self.distractor)


Rule = Callable[[Identities, Identities], tuple[Tensor, Tensor]]
"""Queries and gallery to counted (Q,G) bool and right (Q,G) bool; right is part of counted."""


def masks(queries: Identities, gallery: Identities) -> tuple[Tensor, Tensor]:
    """The usual `Rule`: which gallery entries count for which query, and which of those are right.

    Left out are junk, entries that are the query itself, and, where both have cameras, those of its own identity
    and camera. Distractors are wrong.
    """
    same = queries.ids[:, None] == gallery.ids[None]
    left_out = (gallery.ids == JUNK)[None].expand(same.shape)
    if queries.cameras is not None and gallery.cameras is not None:
        left_out = left_out | (same & (queries.cameras[:, None] == gallery.cameras[None]))
    if queries.items is not None and gallery.items is not None:
        left_out = left_out | (queries.items[:, None] == gallery.items[None])
    right = same & ~left_out
    for distractor in (queries.distractor, gallery.distractor):
        if distractor is not None:
            right = right & queries.ids.ne(distractor)[:, None]
    return ~left_out, right


def other_cameras(queries: Identities, gallery: Identities) -> tuple[Tensor, Tensor]:
    """As `masks`, with all of the query's own camera left out; ConfigError where cameras aren't known."""
    if queries.cameras is None or gallery.cameras is None:
        raise ConfigError("searching other cameras alone needs images whose cameras are known")
    counted, right = masks(queries, gallery)
    other = queries.cameras[:, None] != gallery.cameras[None]
    return counted & other, right & other


def one_each(queries: Identities, gallery: Identities, *, seed: int) -> tuple[Tensor, Tensor]:
    """As `masks`, with one gallery entry drawn of each identity: the single-gallery-shot protocol.

    It is what CUHK03's first protocol (Li et al., 2014) and VehicleID (Liu et al., 2016) ask for, repeated with other
    seeds, 0 to 2^63 - 1. Of the query's own identity the entry is drawn among those that count for the query. A query
    that is drawn itself doesn't ask: it has no right entry. The draw is the gallery's: whoever asks, in chunks or at
    once, meets the same entries.
    """
    counted, right = masks(queries, gallery)
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(seed)).to(gallery.ids.device)
    drawn = _first_of_each(gallery.ids, order) & (gallery.ids != JUNK)  # (G,)
    asks = right.any(dim=1)
    if queries.items is not None and gallery.items is not None:
        asks = asks & ~torch.isin(queries.items, gallery.items[drawn])
    last = len(gallery)
    own = torch.where(right, order, last).argmin(dim=1) if last else asks.long()  # (Q,)
    only = torch.zeros_like(right)
    only[asks, own[asks]] = True
    others = counted & drawn & (queries.ids[:, None] != gallery.ids[None])
    return others | only, only


def _first_of_each(ids: Tensor, order: Tensor) -> Tensor:
    """(G,) bool: of the entries of each identity the one that stands first by `order` (G,)."""
    _, group = torch.unique(ids, return_inverse=True)
    size = int(group.max()) + 1 if len(group) else 0
    first = torch.full((size,), len(ids), device=ids.device).scatter_reduce(0, group, order, "amin")
    return first[group] == order


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


def right_ranks(similarity: Tensor, counted: Tensor, right: Tensor) -> Tensor:
    """The ranks, from 0, at which the right entries stand in each query's list.

    Args:
        similarity: (Q,G), higher is nearer; a distance does, negated.
        counted: (Q,G) bool, as a `Rule` gives it.
        right: (Q,G) bool, likewise.

    Returns:
        (Q,R) int64, ascending along a row; R is the most that a query has, and rows are filled up with -1.

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
    """Scores of similarities (q,G) that come a few queries at a time: memory doesn't grow with their number.

    Returns:
        for each rule the scores of all Q queries, on the CPU.

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
            parts.append(score(right_ranks(similarity, *rule(some, all_of_it))))
    if start != len(queries):
        raise ShapeError(f"similarities of {start} queries for {len(queries)}: give one row for each")
    names = [one.name for one in fields(QueryScores)]
    return [
        QueryScores(*(torch.cat([getattr(part, name).cpu() for part in parts]) for name in names)) for parts in found
    ]


def similarity_rows(query_vectors: Tensor, gallery_vectors: Tensor) -> Iterator[Tensor]:
    """The similarities (q,G) of some queries at a time, of vectors (Q,D) and (G,D); ShapeError for other shapes."""
    if query_vectors.ndim != 2 or gallery_vectors.ndim != 2 or query_vectors.shape[1] != gallery_vectors.shape[1]:
        found, others = tuple(query_vectors.shape), tuple(gallery_vectors.shape)
        raise ShapeError(f"expected query vectors (Q,D) and gallery vectors (G,D), got {found} and {others}")
    for part in torch.split(query_vectors, max(1, _CELLS // max(1, len(gallery_vectors)))):
        yield part @ gallery_vectors.T
