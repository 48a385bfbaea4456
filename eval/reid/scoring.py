"""Vectors to figures: each way of ranking gives every query's scores, their means with intervals, and ranked lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.measures.bootstrap import group_sums, interval, resample
from eval.retrieval.data import RetrievalImages
from fewshot_seg.errors import ConfigError
from fewshot_seg.reid.expansion import ExpansionOptions, expand_queries
from fewshot_seg.reid.ranking import (
    Identities,
    QueryScores,
    Rule,
    masks,
    one_each,
    other_cameras,
    score_rows,
    similarity_rows,
)
from fewshot_seg.reid.rerank import KReciprocal, RerankOptions
from fewshot_seg.streams import Track

SHOWN: Final = 10
"""Gallery entries of each query's list that are kept for a report."""

RANKS: Final = (1, 5, 10)
FIGURES: Final = ("r1", "r5", "r10", "map", "minp", "map_trapezoid")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """How lists are scored.

    Attributes:
        single: one gallery image of each identity is drawn, `repeats` times, instead of searching all.
        repeats: draws; without `single` there is nothing to repeat.
        seed: of the first draw; the others' follow.
        cross: everything from the query's own camera is left out, not its own identity alone.

    Raises:
        ConfigError: fewer than one draw, or `single` and `cross` together, which no benchmark is.
    """

    single: bool = False
    repeats: int = 10
    seed: int = 0
    cross: bool = False

    def __post_init__(self) -> None:
        if self.single and self.cross:
            raise ConfigError("one gallery image of each identity, and other cameras alone: choose one of them")
        if self.repeats < 1:
            raise ConfigError(f"{self.repeats} draws of the gallery: at least one is needed")

    def rules(self) -> list[Rule]:
        """One rule for each draw."""
        if not self.single:
            return [other_cameras if self.cross else masks]
        return [partial(one_each, seed=self.seed + number) for number in range(self.repeats)]


@dataclass(frozen=True)
class Way:
    """A way of ranking.

    Attributes:
        rerank: by k-reciprocal neighbours; None ranks by cosine.
        expansion: of the queries, before that; None for none.
    """

    rerank: RerankOptions | None = None
    expansion: ExpansionOptions | None = None

    @property
    def name(self) -> str:
        """For tables and files."""
        parts = ["query expansion"] * (self.expansion is not None) + ["re-ranking"] * (self.rerank is not None)
        return " and ".join(parts) or "cosine"


@dataclass(frozen=True, eq=False)
class Ranked:
    """What a way made of Q queries.

    Attributes:
        scores: of each draw, over the queries.
        rows: (Q,n) int64 gallery rows at the heads of the lists of the first draw, n at most `SHOWN`; -1 where a list
            is shorter.
        values: (Q,n) float32, their cosines, or their re-ranked distances.
    """

    scores: list[QueryScores]
    rows: Tensor
    values: Tensor


def score_way(
    way: Way,
    vectors: Tensor,
    images: RetrievalImages,
    who: tuple[Identities, Identities],
    protocol: Protocol,
    track: Track,
) -> Ranked:
    """Rank the gallery for every query.

    `vectors` (I,D) are all images', of unit norm, on the device to compute on; `who` are the queries and the gallery.

    Raises:
        ConfigError: re-ranking or expansion, which look at the whole gallery, with one gallery image of each identity.
    """
    if protocol.single and (way.rerank is not None or way.expansion is not None):
        raise ConfigError(f"{way.name} looks at gallery images that a single-shot protocol hides; leave it out")
    heads: list[tuple[Tensor, Tensor]] = []
    rows = _with_heads(_similarities(way, vectors, images, track), who, protocol.rules()[0], heads)
    scores = score_rows(rows, *who, protocol.rules())
    width = min(SHOWN, len(images.gallery))
    values, places = (torch.cat(part) for part in zip(*heads, strict=True))
    assert places.shape == (len(images.queries), width)
    return Ranked(scores, places, values if way.rerank is None else -values)


def figures_of(scores: Sequence[QueryScores], people: NDArray[np.int64], samples: int) -> dict[str, Any]:
    """Means over all answerable queries of all draws, with intervals where `samples` is above 0: JSON values.

    Args:
        scores: of each draw.
        people: (Q,) int64 who each query is, 0, 1, ...: the queries of one are resampled together, for they are not
            independent.
        samples: of the bootstrap.
    """
    values = sum(_table(one) for one in scores)  # (Q,7)
    assert not isinstance(values, int)
    figures = dict(zip(FIGURES, _shares(values.sum(axis=0, keepdims=True))[0].tolist(), strict=True))
    answered = scores[0].answerable if len(scores) == 1 else torch.stack([one.answerable for one in scores]).any(dim=0)
    found: dict[str, Any] = {name: None if np.isnan(value) else value for name, value in figures.items()}
    found["answered"] = int(answered.sum())
    if len(scores) > 1:
        means = np.concatenate([_shares(_table(one).sum(axis=0, keepdims=True)) for one in scores])
        found["spread"] = dict(zip(FIGURES, means.std(axis=0, ddof=1).tolist(), strict=True))
    if samples:
        drawn = _shares(resample(group_sums(values, people), samples, seed=0))
        found["intervals"] = {name: interval(drawn[:, place]) for place, name in enumerate(FIGURES)}
    return found


def _similarities(way: Way, vectors: Tensor, images: RetrievalImages, track: Track) -> Iterator[Tensor]:
    """(q,G) of some queries at a time, higher is nearer."""
    queries, gallery = (vectors[places.to(vectors.device)] for places in (images.queries, images.gallery))
    if way.expansion is not None:
        queries = expand_queries(queries, gallery, way.expansion, images.own)
    if way.rerank is None:
        yield from similarity_rows(queries, gallery)
        return
    last, inside = len(gallery), images.own >= 0
    rows = torch.arange(len(queries)) + last
    if way.expansion is None:  # an image that both asks and is asked for is one image
        rows[inside] = images.own[inside]
        rows[~inside] = torch.arange(int((~inside).sum())) + last
        queries = queries[(~inside).to(queries.device)]
    index = KReciprocal(torch.cat([gallery, queries]), way.rerank, track)
    for distances in index.distances(rows.to(vectors.device), slice(0, last)):
        yield -distances


def _with_heads(
    rows: Iterator[Tensor], who: tuple[Identities, Identities], rule: Rule, heads: list[tuple[Tensor, Tensor]]
) -> Iterator[Tensor]:
    """The rows as they come; the heads of their lists, (q,n) similarities and gallery rows, are put aside."""
    start = 0
    for similarity in rows:
        some = who[0].take(slice(start, start + len(similarity))).to(similarity.device)
        start += len(similarity)
        counted, _ = rule(some, who[1].to(similarity.device))
        best = similarity.masked_fill(~counted, -torch.inf).topk(min(SHOWN, similarity.shape[1]), dim=1)
        there = best.values > -torch.inf
        heads.append((best.values.float().cpu(), torch.where(there, best.indices, -1).cpu()))
        yield similarity


def _table(scores: QueryScores) -> Array:
    """(Q,7): the figures, 0 for a query without an answer, and whether it has one."""
    columns = [*(scores.hits(k) for k in RANKS), scores.ap, scores.inp, scores.ap_trapezoid]
    return torch.stack([*(torch.nan_to_num(one) for one in columns), scores.answerable.double()], dim=1).numpy()


def _shares(sums: Array) -> Array:
    """(B,7) sums to (B,6) means."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = sums[:, :-1] / sums[:, -1:]
    return means
