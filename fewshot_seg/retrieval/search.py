"""A query to hits: images to vectors, vectors to rows, rows to what a person wants to know of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.attention.maps import scale_maps, shots_of, similarity_maps
from fewshot_seg.errors import ConfigError, DataError, FewShotError, describe
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.images import ImageInput, is_one, load_batch
from fewshot_seg.network.embedding import Embedder, Embedding
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.exact import TopK
from fewshot_seg.retrieval.hits import Hits
from fewshot_seg.streams import in_batches, ordered_map, worker_pool

Box = Sequence[float]
Combine = Literal["average", "any"]

UNLIKE_SHARE: Final = 0.3
"""How much of what is not meant is taken out of the query, chosen on the grocery pictures; see docs/retrieval.md."""

SAME: Final = 0.9999
"""Cosine from which an image of the index is one of those that are not meant."""


class Maps(NamedTuple):
    """Where two images' similarity comes from: (h, w) float32 in 0..1 of the query and of the hit."""

    query: NDArray[np.float32]
    hit: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Hit:
    """An image that was found.

    Attributes:
        path: as it was given when it was indexed.
        score: cosine to what was searched for, at most 1.
        row: its number in the index as it was then.
        columns: what else is known of it.
        location: where its file is now.
        query: number of the query image that it is most like, where several were given.
    """

    path: str
    score: float
    row: int
    columns: Mapping[str, str]
    location: str
    query: int
    _explain: Callable[[Hit], Maps] = field(repr=False)

    def maps(self) -> Maps:
        """Why it was found: similarity attention of the query and of the hit, computed now.

        Of several query images it is the one most like the hit; of a query with a box, its part.

        Raises:
            ImageError: the hit's file can't be read any more.
        """
        return self._explain(self)


@dataclass(frozen=True, eq=False)
class _Away:
    """What is not meant: its direction (D,), and the rows of the index that show just that."""

    direction: Tensor | None = None
    rows: frozenset[int] = frozenset()

    @property
    def count(self) -> int:
        """How many more rows have to be found, so that enough are left without these."""
        return len(self.rows)

    def ranked(self, found: TopK, k: int) -> list[tuple[int, float]]:
        """The best k rows of what one or several directions found, each by its best score, without those not meant.

        Of rows with equal scores the lower comes first.
        """
        best: dict[int, float] = {}
        for row, score in zip(found.rows.flatten().tolist(), found.scores.flatten().tolist(), strict=True):
            if row not in self.rows:
                best[row] = max(score, best.get(row, score))
        return sorted(best.items(), key=lambda one: (-one[1], one[0]))[:k]


class Searcher:
    """Searches an index with images.

    Args:
        contents: the index's.
        embedder: its own.
        search_vectors: (Q,D) vectors and k -> the best rows; exact, or a backend's.
    """

    def __init__(self, contents: Contents, embedder: Embedder, search_vectors: Callable[[Tensor, int], TopK]) -> None:
        self._contents = contents
        self._embedder = embedder
        self._search_vectors = search_vectors

    def search(
        self,
        query: ImageInput | Sequence[ImageInput],
        k: int,
        threshold: float | None,
        box: Box | None,
        unlike: Sequence[ImageInput],
        combine: Combine,
    ) -> Hits[Hit]:
        """See `Index.search`."""
        _check(k, combine)
        images = _several(query)
        if not images:
            raise DataError("no query was given; give at least one image")
        if box is not None:
            if len(images) > 1:
                raise ConfigError(f"a box is a part of one image, and {len(images)} were given; cut them out first")
            images = [cut_out(images[0], box)]
        asked = self._embed(load_batch(images, self._embedder))
        away = self._unlike(unlike)
        found = self._search_vectors(_directions(asked.vector, away, combine), k + away.count)
        return self._hits(away.ranked(found, k), threshold, asked)

    def search_each(
        self,
        queries: Iterable[ImageInput],
        k: int,
        threshold: float | None,
        unlike: Sequence[ImageInput],
        batch_size: int,
        workers: int,
    ) -> Iterator[Hits[Hit] | FewShotError]:
        """Each query's hits, in order; for one that can't be read, its error in their place."""
        _check(k, "average")
        away = self._unlike(unlike)
        with worker_pool(workers, None) as pool:
            read = ordered_map(pool, partial(_read, self._embedder), queries, ahead=batch_size + workers)
            for batch in in_batches(read, batch_size):
                yield from self._search_batch(batch, k, threshold, away)

    def _search_batch(
        self, batch: list[Tensor | FewShotError], k: int, threshold: float | None, away: _Away
    ) -> list[Hits[Hit] | FewShotError]:
        tensors = [one for one in batch if isinstance(one, Tensor)]
        if not tensors:
            return [one for one in batch if isinstance(one, FewShotError)]
        asked = self._embed(torch.stack(tensors))
        found = self._search_vectors(_directions(asked.vector, away, "any"), k + away.count)
        hits = []
        for place in range(len(tensors)):
            of = slice(place, place + 1)
            ranked = away.ranked(TopK(found.scores[of], found.rows[of]), k)
            hits.append(self._hits(ranked, threshold, Embedding(*(part[of] for part in asked))))
        each = iter(hits)
        return [one if isinstance(one, FewShotError) else next(each) for one in batch]

    def _unlike(self, unlike: Sequence[ImageInput]) -> _Away:
        images = _several(unlike)
        if not images:
            return _Away()
        vectors = self._embed(load_batch(images, self._embedder)).vector.float()
        size, same = 8, 8
        while same == size:  # as many as there are; hardly ever more than one for each image
            size *= 2
            found = self._search_vectors(vectors, size)
            same = int((found.scores >= SAME).sum(dim=1).max())
        rows = frozenset(found.rows[found.scores >= SAME].tolist())
        return _Away(torch.nn.functional.normalize(vectors.mean(0), dim=0), rows)

    @torch.inference_mode()
    def _embed(self, batch: Tensor) -> Embedding:
        return self._embedder(batch.to(self._embedder.device))

    def _hits(self, ranked: list[tuple[int, float]], threshold: float | None, asked: Embedding) -> Hits[Hit]:
        hits: Hits[Hit] = Hits()
        for number, score in ranked:
            if threshold is not None and score < threshold:
                break
            row = self._contents.row(number)
            location = self._contents.locate(row)
            vector = torch.from_numpy(self._contents.vectors[number]).to(asked.vector.device)
            alike = int((asked.vector.float() @ vector).argmax())
            query = Embedding(*(part[alike : alike + 1] for part in asked))
            explain = partial(maps_of, self._embedder, query)
            hits.append(Hit(row.path, min(score, 1.0), number, row.columns, location, alike, explain))
        return hits


def cut_out(image: ImageInput, box: Box) -> NDArray[np.uint8]:
    """The part of an image within a box (x, y, w, h), in pixels of the image as a viewer shows it.

    Raises:
        ConfigError: no four numbers, or no part of the image. ImageError: the image can't be read.
    """
    pixels = read_image(image)
    height, width = pixels.shape[:2]
    if len(box) != 4 or not all(np.isfinite(box)) or min(box[2:]) <= 0:
        raise ConfigError(f"box {tuple(box)}: must be x, y, width and height in pixels, width and height above 0")
    x, y, w, h = box
    left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
    right, bottom = min(width, int(np.ceil(x + w))), min(height, int(np.ceil(y + h)))
    if left >= right or top >= bottom:
        raise ConfigError(f"box {tuple(box)}: lies outside {describe(image)}, which is {width}x{height}")
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def _several(images: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    return [cast(ImageInput, images)] if is_one(images) else list(cast(Sequence[ImageInput], images))


def _check(k: int, combine: str) -> None:
    if type(k) is not int or k < 1:
        raise ConfigError(f"k is {k!r}: must be a whole number, at least 1")
    if combine not in get_args(Combine):
        raise ConfigError(f"unknown combine {combine!r}: choose {' or '.join(get_args(Combine))}")


def _read(embedder: Embedder, query: ImageInput) -> Tensor | FewShotError:
    try:
        return load_batch([query], embedder)[0]
    except FewShotError as error:
        return error


def _directions(vectors: Tensor, away: _Away, combine: Combine) -> Tensor:
    """(1 or n, D) of unit norm: what to search with, for query vectors (n,D)."""
    directions = vectors.float()
    if combine == "average" and len(directions) > 1:
        directions = torch.nn.functional.normalize(directions.mean(0, keepdim=True), dim=1)
    if away.direction is not None:
        directions = torch.nn.functional.normalize(directions - UNLIKE_SHARE * away.direction, dim=1)
    return directions


@torch.inference_mode()
def maps_of(embedder: Embedder, query: Embedding, hit: Hit) -> Maps:
    """Contributions of every position to the similarity of two images. ImageError: the file can't be read."""
    found = embedder(load_batch([hit.location], embedder))
    pairs = ((query, found), (found, query))
    maps = [similarity_maps(embedder, one, shots_of(embedder, other)) for one, other in pairs]
    query_map, hit_map = (scale_maps(each)[0].float().cpu().numpy() for each in maps)
    return Maps(query_map, hit_map)
