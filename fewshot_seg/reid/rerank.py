"""k-reciprocal re-ranking: who also has me among their nearest is nearer to me than who hasn't.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

    index = KReciprocal(torch.cat([queries, gallery]))
    for rows in index.distance_rows(queries=len(queries)): ...                # (q,G) each

The textbook form holds several dense N x N matrices, 3 GB each for Market-1501's 19,281 images. Here the distances
are computed a chunk of rows at a time, of which the k1 + 1 nearest are kept, and the encoding V is sparse: each image
has values for its few reciprocal neighbours. Nothing loops over images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.streams import Track, untracked

_CELLS: Final = 8_000_000  # numbers of one kind that are held at a time


@dataclass(frozen=True)
class RerankOptions:
    """The published defaults.

    Attributes:
        k1: neighbours within which two images have to be of each other.
        k2: neighbours whose encodings are averaged (local query expansion); 1 averages nothing.
        own: λ in [0, 1], the original distance's share in the result; 1 leaves everything as it was.

    Raises:
        ConfigError: a value that cannot be.
    """

    k1: int = 20
    k2: int = 6
    own: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1:
            raise ConfigError(f"re-ranking with k1 {self.k1} and k2 {self.k2}: both must be 1 or more")
        if not 0 <= self.own <= 1:
            raise ConfigError(f"re-ranking with lambda {self.own!r}: must be 0 to 1")


def rerank(queries: Tensor, gallery: Tensor, options: RerankOptions | None = None) -> Tensor:
    """The re-ranked distances (Q,G) in [0, 1] of queries (Q,D) to a gallery (G,D), all of them in memory.

    Raises:
        ShapeError: shapes that don't belong together, or values that are no numbers.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        found, others = tuple(queries.shape), tuple(gallery.shape)
        raise ShapeError(f"expected queries (Q,D) and gallery (G,D), got {found} and {others}")
    index = KReciprocal(torch.cat([queries, gallery]), options)
    rows = list(index.distance_rows(len(queries)))
    return torch.cat(rows) if rows else queries.new_zeros((0, len(gallery)))


class KReciprocal:
    """The encodings of N images, and the distances that follow from them.

    Of equally distant images the one that stands first is the nearer.

    Args:
        vectors: (N,D), queries and gallery together: the neighbourhoods are those of all of them. Float32 or
            float64; distances are squared Euclidean ones, as in the paper.
        options: the published defaults if None.
        track: shows progress; None shows none.

    Raises:
        ShapeError: not (N,D) with N >= 1, or values that are no numbers.
    """

    def __init__(self, vectors: Tensor, options: RerankOptions | None = None, track: Track | None = None) -> None:
        if vectors.ndim != 2 or not len(vectors) or not torch.isfinite(vectors).all():
            raise ShapeError(f"expected vectors (N,D) of numbers, N >= 1, got {tuple(vectors.shape)} or a NaN in them")
        self.options = options or RerankOptions()
        self._track = track or untracked
        self._vectors = vectors
        self._norms = vectors.square().sum(dim=1)
        depth = max(self.options.k1 + 1, self.options.k2)
        self._nearest, self._furthest = self._neighbours(min(depth, len(vectors)))
        self._codes = self._averaged(self._encoded())

    def distance_rows(self, queries: int) -> Iterator[Tensor]:
        """The distances (q,G) of some of the first `queries` images at a time to all that come after them."""
        images = torch.arange(queries, device=self._vectors.device)
        yield from self.distances(images, slice(queries, len(self._vectors)))

    def distances(self, rows: Tensor, columns: slice) -> Iterator[Tensor]:
        """The distances (q,M) of some of the images `rows` (Q,) at a time to the M images of `columns`.

        λ d / max d + (1 - λ) d_J, with the Jaccard distance d_J of the encodings (equations 10 and 12).
        """
        first, last, _ = columns.indices(len(self._vectors))
        by_column = self._codes.rows(first, last).transpose()
        steps = self._shares(rows, by_column, last - first)
        for some in self._track(steps, len(steps), "re-ranking"):
            own = self._distances(some)[:, first:last] / self._furthest[some, None]
            shared = self._shared(some, by_column, last - first)
            jaccard = 1 - shared / (2 - shared)
            yield jaccard.mul_(1 - self.options.own).add_(own, alpha=self.options.own)

    def _distances(self, images: Tensor) -> Tensor:
        """(n,N) squared distances of some images to all."""
        inner = self._vectors[images] @ self._vectors.T
        squared = inner.mul_(-2).add_(self._norms).add_(self._norms[images, None]).clamp_(min=0)
        return squared.scatter_(1, images[:, None], 0.0)

    def _neighbours(self, depth: int) -> tuple[Tensor, Tensor]:
        """The `depth` nearest of each image, mostly itself first: (N,depth) int64; (N,) its largest distance."""
        images = torch.arange(len(self._vectors), device=self._vectors.device)
        nearest, furthest, unsure = [], [], []
        steps = torch.split(images, max(1, _CELLS // len(images)))
        for some in self._track(steps, len(steps), "nearest neighbours"):
            squared = self._distances(some)
            largest = squared.amax(dim=1)
            largest = torch.where(largest > 0, largest, 1.0)  # all images are the same one
            found, tied = _smallest(squared.div_(largest[:, None]), depth)
            nearest.append(found)
            furthest.append(largest)
            unsure.append(tied)
        index, largest = torch.cat(nearest), torch.cat(furthest)
        for some in torch.split(images[torch.cat(unsure)], max(1, _CELLS // 4 // len(images))):
            # More images are as far as the last neighbour than there is room for: the first of them have it.
            squared = self._distances(some).div_(largest[some, None])
            index[some] = squared.sort(dim=1, stable=True).indices[:, :depth]
        return index, largest

    def _encoded(self) -> _Rows:
        """V (equations 3 to 5): for each image the weights of its reciprocal neighbours, which add up to 1."""
        near = self._nearest[:, : self.options.k1 + 1]  # (N,a)
        half = self._nearest[:, : round(self.options.k1 / 2) + 1]  # (N,b)
        mutual, mutual_half = _mutual(near), _mutual(half)
        images = torch.arange(len(near), device=near.device)
        parts = []
        steps = torch.split(images, max(1, _CELLS // (near.shape[1] ** 2 * half.shape[1])))
        for some in self._track(steps, len(steps), "reciprocal neighbours"):
            of_members = half[near[some]], mutual_half[near[some]]
            place, column = _sets((near[some], mutual[some]), of_members, len(near))
            weight = self._weights(some[place], column)
            total = torch.zeros(len(some), dtype=weight.dtype, device=weight.device).index_add_(0, place, weight)
            parts.append(_from_cells(place, column, weight / total[place], (len(some), len(near))))
        return _cat(parts)

    def _weights(self, row: Tensor, column: Tensor) -> Tensor:
        """exp(-d) of pairs (n,) of images, d being divided by the largest distance of the first (equation 5)."""
        weights = []
        step = max(1, _CELLS // self._vectors.shape[1])
        for a, b in zip(torch.split(row, step), torch.split(column, step), strict=True):
            inner = (self._vectors[a] * self._vectors[b]).sum(dim=1)
            squared = (self._norms[a] + self._norms[b] - 2 * inner).clamp(min=0).masked_fill(a == b, 0.0)
            weights.append(torch.exp(-squared / self._furthest[a]))
        return torch.cat(weights) if weights else self._norms[:0]

    def _averaged(self, codes: _Rows) -> _Rows:
        """Each image's V is the mean of its k2 nearest images' (equation 11)."""
        if self.options.k2 == 1:
            return codes
        near = self._nearest[:, : self.options.k2]
        parts = []
        for some in torch.split(near, max(1, _CELLS // 4 // (near.shape[1] * max(1, int(codes.lengths.max()))))):
            place, column, value = codes.gather(some.flatten())
            row = place // some.shape[1]
            parts.append(_from_cells(row, column, value / some.shape[1], (len(some), len(near))))
        return _cat(parts)

    def _shares(self, rows: Tensor, by_column: _Rows, width: int) -> list[Tensor]:
        """The images `rows` in parts that are compared at once: few enough for rows, and for values that meet."""
        place, column, _ = self._codes.gather(rows)
        meet = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        meet.index_add_(0, place, by_column.lengths[column])
        most_rows = max(1, _CELLS // 4 // max(1, width, len(self._vectors)))
        number = torch.arange(len(rows), device=rows.device)
        part = torch.stack([number // most_rows, meet.cumsum(0) // (_CELLS // 4)])
        _, counts = torch.unique_consecutive(part, dim=1, return_counts=True)
        return list(torch.split(rows, counts.tolist())) if len(rows) else []

    def _shared(self, rows: Tensor, by_column: _Rows, width: int) -> Tensor:
        """(q,M): for each pair the sum of the smaller ones of their values (equation 8)."""
        place, column, value = self._codes.gather(rows)
        at, other, others_value = by_column.gather(column)
        shared = torch.zeros(len(rows) * width, dtype=value.dtype, device=value.device)
        shared.index_add_(0, place[at] * width + other, torch.minimum(value[at], others_value))
        return shared.reshape(len(rows), width)


@dataclass(frozen=True, eq=False)
class _Rows:
    """An (N,M) matrix by compressed sparse rows: row i's values are those from `start[i]` to before `start[i + 1]`."""

    start: Tensor  # (N + 1,) int64
    column: Tensor  # (nnz,) int64, ascending in each row
    value: Tensor  # (nnz,)
    width: int  # M

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def lengths(self) -> Tensor:
        """(N,) int64: how many values each row has."""
        return self.start.diff()

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The values of rows (K,), one row after the other: (n,) which of the K, (n,) columns, (n,) values."""
        lengths = self.lengths[rows]
        place = torch.arange(len(rows), device=rows.device).repeat_interleave(lengths)
        before = lengths.cumsum(0) - lengths
        at = torch.arange(len(place), device=rows.device) + (self.start[rows] - before)[place]
        return place, self.column[at], self.value[at]

    def transpose(self) -> _Rows:
        """The (M,N) matrix."""
        row = torch.arange(len(self), device=self.column.device).repeat_interleave(self.lengths)
        order = self.column.argsort(stable=True)
        return _Rows(_starts(self.column, self.width), row[order], self.value[order], len(self))

    def rows(self, first: int, last: int) -> _Rows:
        """The rows from `first` to before `last`."""
        start = self.start[first : last + 1]
        held = slice(int(start[0]), int(start[-1]))
        return _Rows(start - start[0], self.column[held], self.value[held], self.width)


def _from_cells(row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> _Rows:
    """The matrix of these cells, (n,) each; values of one cell are added up."""
    key, place = torch.unique(row * shape[1] + column, return_inverse=True)
    summed = torch.zeros(len(key), dtype=value.dtype, device=value.device).index_add_(0, place, value)
    return _Rows(_starts(key // shape[1], shape[0]), key % shape[1], summed, shape[1])


def _cat(parts: list[_Rows]) -> _Rows:
    """The rows of several matrices of one width, one below the other."""
    lengths = torch.cat([part.lengths for part in parts])
    start = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    column, value = (torch.cat([getattr(part, name) for part in parts]) for name in ("column", "value"))
    return _Rows(start, column, value, parts[0].width)


def _starts(row: Tensor, number: int) -> Tensor:
    """(number + 1,) int64 from the row of each value."""
    return torch.cat([row.new_zeros(1), row.bincount(minlength=number).cumsum(0)])


def _smallest(distances: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """The columns (n,depth) of each row's smallest values, by value and then by column; and (n,) which are unsure.

    In these other values are as small as the last one, and which of them was taken was not by column.
    """
    value, index = distances.topk(min(depth + 1, distances.shape[1]), dim=1, largest=False)
    index, order = index.sort(dim=1)
    value, order = value.gather(1, order).sort(dim=1, stable=True)
    index = index.gather(1, order)
    if value.shape[1] == depth:
        return index, torch.zeros_like(value[:, 0], dtype=torch.bool)
    return index[:, :depth], value[:, depth] == value[:, depth - 1]


def _mutual(near: Tensor) -> Tensor:
    """(N,k) bool: whether an image is also among the neighbours (N,k) of that neighbour (equation 3)."""
    images = torch.arange(len(near), device=near.device)
    parts = torch.split(images, max(1, _CELLS // near.shape[1] ** 2))
    return torch.cat([(near[near[some]] == some[:, None, None]).any(dim=2) for some in parts])


def _sets(members: tuple[Tensor, Tensor], of_members: tuple[Tensor, Tensor], images: int) -> tuple[Tensor, Tensor]:
    """R*: the reciprocal neighbours R and, of each of these, its own nearer ones if R has two thirds (equation 4).

    Of (n,a) candidates of R, and whether each is in it, and the (n,a,b) half as many nearest of each candidate, and
    whether these are reciprocal: (nnz,) rows and (nnz,) images, each pair once, in order.
    """
    near, mutual = members
    half, mutual_half = of_members
    known = ((half[..., None] == near[:, None, None]) & mutual[:, None, None]).any(dim=3) & mutual_half  # (n,a,b)
    joins = mutual & (3 * known.sum(dim=2) > 2 * mutual_half.sum(dim=2))  # (n,a)
    row = torch.arange(len(near), device=near.device)
    own = (row[:, None] * images + near)[mutual]
    joined = (row[:, None, None] * images + half)[joins[..., None] & mutual_half]
    key: Tensor = torch.unique(torch.cat([own, joined]))
    return key // images, key % images
