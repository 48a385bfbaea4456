"""Exact search: the K gallery vectors with the largest inner products, of any number, in bounded memory.

Almost all of a matrix of similarities lies far below what a query already has. So each chunk of the gallery is
multiplied at full speed, compared with every query's K-th best so far, and only the few pairs that pass, lowered by the
most that rounding can have changed them, are looked at further: their products are summed again one by one, always in
the same order. What comes out is therefore the same to the bit, whatever the size of the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, DataError, ShapeError
from fewshot_seg.network.devices import resolve_device

CHUNK = 4096  # gallery rows at once
QUERIES = 1024  # queries at once: with CHUNK, 16 MB of similarities
PIECE = 2**17  # numbers in a piece of products that are summed again: 1 MB, which the allocator reuses at once

# What a product's factors lose before they are multiplied, by torch.get_float32_matmul_precision().
_FACTOR_ROUNDING = {"highest": 0.0, "high": 2.0**-10, "medium": 2.0**-7}


@dataclass(frozen=True)
class TopK:
    """The best rows of each query, best first.

    Attributes:
        scores: (Q,k) float32 inner products, falling.
        rows: (Q,k) int64 rows of the gallery. Rows with equal scores stand in rising order.
    """

    scores: Tensor
    rows: Tensor


def top_k(
    queries: Tensor,
    gallery: Tensor | np.ndarray,
    k: int,
    *,
    chunk: int = CHUNK,
    queries_at_once: int = QUERIES,
    device: str | torch.device | None = None,
) -> TopK:
    """The k rows of `gallery` with the largest inner product with each query: cosine, for vectors of unit norm.

    A score is the float64 sum of the pair's products, rounded to float32 (on Apple's MPS, which has no float64, a
    float32 sum). Of rows with equal scores the lower comes first, also where only some of them fit into k. Neither
    `chunk` nor `queries_at_once` changes a bit of the result.

    Beside queries, gallery and result it needs about `9 * queries_at_once * chunk` bytes for similarities,
    `8 * chunk * D` for the chunk, and `150 * queries_at_once * k` for pairs: 70 MB with what stands here, D 512 and
    k 100, whatever the size of the gallery. Pairs within rounding of a query's k-th best come on top, which only a
    gallery that is mostly doubles has many of; at the very worst they are all of a chunk's, at 80 bytes a pair.

    Args:
        queries: (Q,D) floating point.
        gallery: (N,D) floating point: a tensor, an array, or a memory-mapped array, which is read chunk by chunk.
        k: how many, >= 1; of more than N, N are given.
        chunk: gallery rows at once, >= 1.
        queries_at_once: queries at once, >= 1.
        device: where to compute; None is where `queries` are.

    Returns:
        (Q, min(k, N)) scores and rows, on `device`.

    Raises:
        ShapeError: queries and gallery that are not (Q,D) and (N,D).
        ConfigError: k, chunk or queries_at_once below 1, or no such device.
        DataError: a number that is not finite; the message names the row.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ShapeError(
            f"expected queries (Q,D) and gallery (N,D), got {tuple(queries.shape)} and {tuple(gallery.shape)}"
        )
    if min(k, chunk, queries_at_once) < 1:
        raise ConfigError(f"k and chunks must be at least 1, got k {k}, {chunk} rows, {queries_at_once} queries")
    where = queries.device if device is None else resolve_device(device)
    queries = queries.detach().to(where, torch.float32)
    _norms(queries, "query", 0)
    k = min(k, len(gallery))
    if not k or not len(queries):
        return TopK(queries.new_empty(len(queries), k), torch.empty(len(queries), k, dtype=torch.int64, device=where))
    blocks = [_search(block, gallery, k, chunk) for block in torch.split(queries, queries_at_once)]
    return TopK(torch.cat([b.scores for b in blocks]), torch.cat([b.rows for b in blocks]))


def _search(queries: Tensor, gallery: Tensor | np.ndarray, k: int, chunk: int) -> TopK:
    """The best k of the whole gallery for one block of queries (B,D)."""
    best = _Best(queries, k)
    for start in range(0, len(gallery), chunk):
        best.look_at(_rows(gallery, start, start + chunk, queries.device), start)
    return best.result()


def _rows(gallery: Tensor | np.ndarray, start: int, end: int, device: torch.device) -> Tensor:
    """Rows of the gallery as float32 (C,D) on `device`; a copy only where they are not that already."""
    part = gallery[start:end]
    if isinstance(part, np.ndarray):
        part = torch.from_numpy(np.array(part, dtype=np.float32))  # a copy: a mapped file may be read-only
    moved: Tensor = part.detach().to(device, torch.float32)
    return moved


def _norms(vectors: Tensor, what: str, start: int) -> Tensor:
    """Norms (B,) of the vectors (B,D), which is how a number that is not finite is found. DataError: there is one."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    if not bool(norms.isfinite().all()):
        row = start + int(norms.isfinite().logical_not().int().argmax())
        raise DataError(f"{what} {row} has a number that is not finite: embed that image again")
    return norms


class _Best:
    """What a block of queries has found so far: k each, and loose pairs that will be sorted in with them.

    Sorting in after every chunk would cost more than the multiplication, so pairs are kept until there are as many as
    results. Each time the number of rows seen about doubles, whatever the order of the gallery.
    """

    def __init__(self, queries: Tensor, k: int) -> None:
        self.queries, self.k = queries, k
        self.norms = torch.linalg.vector_norm(queries, dim=1)  # (B,)
        # MPS has no float64
        self.wide = queries if queries.device.type == "mps" else queries.double()
        self.multiply = _multiplier(queries)
        self.limit = queries.new_full((len(queries),), -torch.inf)  # (B,) what a pair needs to matter
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # query, row, score: sorted in, then loose ones
        self.loose = 0

    def look_at(self, rows: Tensor, start: int) -> None:
        """Take in the gallery's rows (C,D), the first of which is number `start`."""
        similarity = self.multiply(rows)  # (B,C), each off by at most `slack`
        slack = self._slack(rows, start)
        if start == 0 and self.k <= len(rows):  # the k-th best of some bounds the k-th best of all from below
            self.limit = similarity.topk(self.k, dim=1).values[:, -1] - slack
        query, row = _true_pairs(similarity >= (self.limit - slack)[:, None])
        score = self._sum_again(query, rows, row)
        self.pairs.append((query, row + start, score))
        self.loose += len(query)
        if self.loose >= self.k * len(self.queries):
            self._sort_in()

    def result(self) -> TopK:
        self._sort_in()
        (_, row, score) = self.pairs[0]
        return TopK(score.view(-1, self.k), row.view(-1, self.k))

    def _slack(self, rows: Tensor, start: int) -> Tensor:
        """How far a similarity of these rows can be from its score (B,): D roundings of at most |q| |g| each."""
        lost = (rows.shape[1] + 2) * 2.0**-24 + _FACTOR_ROUNDING[torch.get_float32_matmul_precision()]
        farthest = _norms(rows, "gallery row", start).max()
        slack: Tensor = self.norms * (lost * farthest)
        return slack

    def _sum_again(self, query: Tensor, rows: Tensor, row: Tensor) -> Tensor:
        """Scores (P,) of pairs, each a sum of its own: no kernel's blocking can tell two equal vectors apart."""
        size = max(1, PIECE // rows.shape[1])
        pieces = [
            (self.wide[q] * rows[r]).sum(dim=1).float()
            for q, r in zip(torch.split(query, size), torch.split(row, size), strict=True)
        ]
        return torch.cat(pieces) if pieces else rows.new_empty(0)

    def _sort_in(self) -> None:
        """Keep each query's first k by falling score and rising row."""
        query, row, score = (torch.cat(part) for part in zip(*self.pairs, strict=True))
        # Pairs came by rising row, and the sorts are stable: equal scores stay in that order.
        order = score.argsort(descending=True, stable=True)
        order = order[query[order].argsort(stable=True)]
        query, row, score = query[order], row[order], score[order]
        counts = query.bincount(minlength=len(self.queries))  # (B,)
        rank = torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[query]
        kept = rank < self.k
        self.pairs = [(query[kept], row[kept], score[kept])]
        self.loose = 0
        if bool((counts >= self.k).all()):
            self.limit = self.pairs[0][2].view(-1, self.k)[:, -1]


def _multiplier(queries: Tensor) -> Callable[[Tensor], Tensor]:
    """What gives the inner products (B,C) of the queries (B,D) with rows (C,D).

    On a CPU that is oneDNN's product where torch has it. It uses the widest instructions of any maker's processor;
    MKL, which `@` calls, does so on Intel's alone, and took 2.1 times as long on an AMD EPYC with AVX-512.
    """
    if queries.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return lambda rows: queries @ rows.T
    packed = queries.to_mkldnn()
    return lambda rows: torch.nn.functional.linear(packed, rows.contiguous().to_mkldnn()).to_dense()


def _true_pairs(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Query and column (P,) of every True of a mask (B,C), row by row.

    Eight columns are looked at in one step, as one number: nearly all of them are False.
    """
    if mask.shape[1] % 8:
        query, column = mask.nonzero(as_tuple=True)
        return query, column
    query, word = mask.view(torch.int64).nonzero(as_tuple=True)
    hit, byte = mask.view(len(mask), -1, 8)[query, word].nonzero(as_tuple=True)
    return query[hit], word[hit] * 8 + byte
