"""Which gallery entries count for a query, and which of them are right: the benchmarks' rules as masks.

They are Market-1501's (Zheng et al., ICCV 2015), which every later set kept: of a query's list, entries of its own
identity from its own camera are left out, and so is junk. Without cameras the query itself alone is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError

JUNK: Final = -1
"""The identity of detections that are nobody: they stand in no list."""


@dataclass(frozen=True, eq=False)
class Identities:
    """Who is in each of N images, and which camera took it.

    Attributes:
        ids: (N,) whole numbers; `JUNK` is nobody.
        cameras: (N,) whole numbers, or None where they aren't known: then a query's list leaves out the query itself
            alone.
        items: (N,) whole numbers, the same for the same image: what tells that a gallery entry is the query itself.
            None: no query is in the gallery.
        distractor: this identity is many people, and none that a query asks for: its entries are wrong for everybody.

    Raises:
        ShapeError: lengths that differ, or not one axis.
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
        """The number of images."""
        return len(self.ids)

    def take(self, places: Tensor | slice) -> Identities:
        """Some of them, in this order."""
        cameras, items = (None if one is None else one[places] for one in (self.cameras, self.items))
        return Identities(self.ids[places], cameras, items, self.distractor)

    def to(self, device: torch.device) -> Identities:
        """The same on another device."""
        cameras, items = (None if one is None else one.to(device) for one in (self.cameras, self.items))
        return Identities(self.ids.to(device), cameras, items, self.distractor)


Rule = Callable[[Identities, Identities], tuple[Tensor, Tensor]]
"""Queries and gallery to counted (Q,G) bool and right (Q,G) bool."""


def masks(queries: Identities, gallery: Identities) -> tuple[Tensor, Tensor]:
    """Which gallery entries count for which query, and which of those are right.

    Left out are junk, entries that are the query itself, and, where both have cameras, those of its own identity
    and camera. Distractors are wrong.

    Args:
        queries: Q of them.
        gallery: G of them.

    Returns:
        counted (Q,G) bool, right (Q,G) bool; right is part of counted.
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
    """As `masks`, with everything that the query's own camera took left out: only other cameras are searched.

    Raises:
        ConfigError: queries or gallery without cameras.
    """
    if queries.cameras is None or gallery.cameras is None:
        raise ConfigError("searching other cameras alone needs images whose cameras are known")
    counted, right = masks(queries, gallery)
    other = queries.cameras[:, None] != gallery.cameras[None]
    return counted & other, right & other


def one_each(queries: Identities, gallery: Identities, *, seed: int) -> tuple[Tensor, Tensor]:
    """As `masks`, with one gallery entry drawn of each identity: the single-gallery-shot protocol.

    It is what CUHK03's first protocol (Li et al., 2014) and VehicleID (Liu et al., 2016) ask for, repeated with other
    seeds. Of the query's own identity the entry is drawn among those that count for the query. A query that is drawn
    itself doesn't ask: it has no right entry. The draw is the gallery's, so queries that are scored in
    chunks meet the same entries.

    Args:
        queries: Q of them.
        gallery: G of them.
        seed: 0 to 2^63 - 1; the same seed draws the same entries, whoever asks.
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
