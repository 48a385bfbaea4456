"""One query in a report: the image, its nearest, which of them are right, and where the similarity comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eval.report.cases import BUDGET, shrunk
from eval.report.html import Html, element, join
from eval.report.parts import Frame, case, picture
from eval.retrieval.data import RetrievalImages
from eval.retrieval.scoring import QueryScores
from eval.tables.table import percent
from fewshot_seg.imaging.images import read_image
from fewshot_seg.imaging.render import heat_map

if TYPE_CHECKING:
    from fewshot_seg.network.embedding import Embedder, Embedding

__all__ = ["HITS", "Explainer", "Neighbour", "draw_list", "draw_query", "frame_for_queries"]

HITS = 5  # neighbours drawn of each query

Map = NDArray[np.floating[Any]]


class Explainer:
    """Similarity attention between two images of a run, each of which goes through the network once.

    The maps are each position's contribution to the pair's cosine (`attention.similarity_maps`).

    Args:
        embedder: the run's.
        images: the run's.
    """

    def __init__(self, embedder: Embedder, images: RetrievalImages) -> None:
        self._embedder, self._images = embedder, images
        self._known: dict[int, Embedding] = {}

    def map_of(self, place: int, other: int) -> Map:
        """Where the image at `place` shows what makes it like `other`: (h,w) in [0, 1].

        Raises:
            ImageError: one of them can't be read.
        """
        from fewshot_seg.attention.maps import scale_maps, shots_of, similarity_maps

        one, positive = self._embedding(place), self._embedding(other)
        maps = similarity_maps(self._embedder, one, shots_of(self._embedder, positive))
        found: Map = scale_maps(maps)[0].float().cpu().numpy()
        return found

    def _embedding(self, place: int) -> Embedding:
        if place not in self._known:
            self._known[place] = self._embedder.embed([self._images.images.paths[place]])
        return self._known[place]


@dataclass(frozen=True)
class Neighbour:
    """A hit.

    Attributes:
        place: among the images.
        rank: from 1.
        near: how near it is, as text.
        right: whether it is of the query's class.
    """

    place: int
    rank: int
    near: str
    right: bool


def frame_for_queries(queries: int, *, explained: bool) -> Frame:
    """Pictures of a size that lets those of so many queries stay within a page's budget."""
    return Frame(limit=int(BUDGET / max(queries * (HITS + 1) * (1 + explained), 1)))


def draw_query(
    scores: QueryScores,
    place: int,
    images: RetrievalImages,
    frame: Frame,
    explainer: Explainer | None,
    anchor: str | None,
) -> Html:
    """The query's article.

    Args:
        scores: of all queries.
        place: of the query among them.
        images: the run's.
        frame: of a picture.
        explainer: gives attention; None draws none.
        anchor: the article's id.

    Raises:
        ImageError: an image can't be read.
    """
    query = int(scores.queries[place])
    hits = _neighbours(scores, place, images)
    first = next((one.rank for one in hits if one.right), None)
    facts = [
        f"MAP@R {percent(_or_none(scores.map_at_r[place]))} %",
        f"first of its class: rank {first}" if first else "none of its class among the first",
        element("bdi", images.images.ids[query]),
    ]
    return draw_list(query, hits, images, frame, explainer, facts, anchor)


def draw_list(
    query: int,
    hits: Sequence[Neighbour],
    images: RetrievalImages,
    frame: Frame,
    explainer: Explainer | None,
    facts: Sequence[object],
    anchor: str | None,
) -> Html:
    """A query and its first `HITS` hits as an article.

    Args:
        query: its place among the images.
        hits: the nearest first.
        images: the run's.
        frame: of a picture.
        explainer: gives attention; None draws none.
        facts: a line over the pictures.
        anchor: the article's id.

    Raises:
        ImageError: an image can't be read.
    """
    nearest = hits[0].place if hits else None
    cells = [
        _pair(query, nearest, "query", element("b", element("bdi", _name(images, query))), images, frame, explainer)
    ]
    cells += [_hit(one, query, images, frame, explainer) for one in hits[:HITS]]
    columns = [
        element("div", cell, class_=f"pair k{column} {kind}".strip())
        for column, (cell, kind) in enumerate(zip(cells, _kinds(hits), strict=True), start=1)
    ]
    return case(anchor, element("bdi", _name(images, query)), facts, columns)


def _neighbours(scores: QueryScores, place: int, images: RetrievalImages) -> list[Neighbour]:
    label = images.images.labels[int(scores.queries[place])]
    rows: Sequence[tuple[int, float]] = list(
        zip(scores.neighbours[place].tolist(), scores.similarities[place].tolist(), strict=True)
    )
    return [
        Neighbour(row, rank, f"{cosine:.3f}", images.images.labels[row] == label)
        for rank, (row, cosine) in enumerate(rows, start=1)
        if row >= 0
    ]


def _kinds(hits: Sequence[Neighbour]) -> list[str]:
    return ["", *("right" if one.right else "wrong" for one in hits[:HITS])]


def _hit(one: Neighbour, query: int, images: RetrievalImages, frame: Frame, explainer: Explainer | None) -> Html:
    mark = "✓ right" if one.right else "✗ wrong"
    told = join([f"{one.rank}. {mark}, {one.near} ", element("bdi", _name(images, one.place))])
    return _pair(one.place, query, f"hit {one.rank}, {mark[2:]}", told, images, frame, explainer)


def _pair(
    place: int,
    other: int | None,
    what: str,
    caption: object,
    images: RetrievalImages,
    frame: Frame,
    explainer: Explainer | None,
) -> Html:
    """An image over its attention to another."""
    photo, _ = shrunk(read_image(images.images.paths[place]), 2 * frame.side)
    alt = f"{what}: {images.images.ids[place]}"
    drawn = [picture(photo, alt, frame, caption)]
    if explainer is not None and other is not None:
        heat = heat_map(photo, explainer.map_of(place, other))
        to = "attention to the first hit" if what == "query" else "attention to the query"
        drawn.append(picture(heat, f"{to}: {images.images.ids[place]}", frame, to))
    return join(drawn)


def _name(images: RetrievalImages, place: int) -> str:
    cameras, name = images.images.cameras, images.images.names[images.images.labels[place]]
    return name if cameras is None else f"{name}, camera {cameras[place]}"


def _or_none(value: float) -> float | None:
    return None if value != value else float(value)
