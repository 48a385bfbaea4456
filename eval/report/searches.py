"""What the reports of retrieval and of re-identification have in common: ranked lists, and why they are so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.report.cases import BUDGET, shrunk
from eval.report.page import Frame, Picture, picture
from eval.report.task import Network, ReportTask, groups_of
from eval.retrieval.data import RetrievalImages
from fewshot_seg.attention import scale_maps, shots_of, similarity_maps
from fewshot_seg.errors import DataError, FewShotError, describe
from fewshot_seg.imaging.images import read_image
from fewshot_seg.imaging.render import heat_map
from fewshot_seg.network.embedding import Embedder, Embedding
from fewshot_seg.retrieval.identity import identity_of
from fewshot_seg.streams import Track

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
        one, positive = self._embedding(place), self._embedding(other)
        maps = similarity_maps(self._embedder, one, shots_of(self._embedder, positive))
        found: Map = scale_maps(maps)[0].float().cpu().numpy()
        return found

    def _embedding(self, place: int) -> Embedding:
        if place not in self._known:
            self._known[place] = self._embedder.embed([self._images.images.paths[place]])
        return self._known[place]


@dataclass(frozen=True)
class View:
    """An image of a list: its id, its class's name, itself, and its attention, if there is any.

    A hit has a rank, from 1, tells how near it is, and whether it is of the query's class.
    """

    id: str
    name: str
    picture: Picture
    attention: Picture | None
    rank: int = 0
    near: float = 0.0
    right: bool = False


@dataclass(frozen=True)
class Ranked:
    """A query, its first hits, sentences on it, and the id of its article."""

    query: View
    hits: list[View]
    facts: list[str]
    anchor: str | None


@dataclass(frozen=True, eq=False)
class SearchRun:
    """A finished run's folder, read."""

    task: ReportTask
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    images: RetrievalImages

    def write(
        self,
        template: str,
        queries: Sequence[int],
        values: Sequence[float],
        rule: str,
        draw: Callable[[int, int | None, Painter], list[Ranked]],
        track: Track,
        lists: int = 1,
        **others: Any,
    ) -> Path:
        """Choose queries, draw them, and write the report.

        Attention isn't kept in a run's folder: it is worked out for the queries that are drawn, and left out, with a
        word on why, where that can't be done.

        Args:
            template: of the kind of report.
            queries: places among the images.
            values: of each query, larger is better; NaN for none.
            rule: see `examples.groups_of`.
            draw: (place among the queries, the same or None where it was drawn before, painter) to a query's lists.
            track: shows progress.
            lists: how many a query has.
            others: for the template.

        Raises:
            ImageError: an image can't be read. OutputError: the file can't be written.
        """
        ids = [self.images.images.ids[place] for place in queries]
        groups = groups_of(values, ids, self.task.examples, rule)
        explainer, problem = _explainer(self.config, self.images, self.task.network) if groups else (None, "")
        places = [place for group in groups for place in group.places]
        count = len(places) * lists * (HITS + 1) * (1 + (explainer is not None))
        painter = Painter(self.images, explainer, Frame(limit=int(BUDGET / max(count, 1))))
        drawn = [
            draw(place, None if place in places[:turn] else place, painter)
            for turn, place in track(list(enumerate(places)), len(places), "drawing")
        ]
        each = iter(drawn)
        shown = [(one.title, one.note, [ranked for _ in one.places for ranked in next(each)]) for one in groups]
        told = {"problem": problem, "groups": shown, "drawn": set(places), "images": self.images.images}
        return self.task.write(template, self.config, self.metrics, **told, **others)


@dataclass(frozen=True, eq=False)
class Painter:
    """Draws lists. Without an explainer there is no attention."""

    images: RetrievalImages
    explainer: Explainer | None
    frame: Frame

    def draw(
        self, query: int, rows: Sequence[int], values: Sequence[float], facts: list[str], anchor: str | None = None
    ) -> Ranked:
        """A query and the first `HITS` of what was found.

        Args:
            query: its place among the images.
            rows: places, the nearest first; below 0 where there is none.
            values: how near each is.
            facts: a line over the pictures.
            anchor: the article's id.

        Raises:
            ImageError: an image can't be read.
        """
        labels = self.images.images.labels
        hits = [
            self._view(row, query, rank, value, labels[row] == labels[query])
            for rank, (row, value) in enumerate(zip(rows[:HITS], values[:HITS], strict=True), start=1)
            if row >= 0
        ]
        nearest = next((row for row in rows if row >= 0), None)
        return Ranked(self._view(query, nearest), hits, facts, anchor)

    def _view(self, place: int, other: int | None, rank: int = 0, near: float = 0.0, right: bool = False) -> View:
        """An image, and its attention to another."""
        images = self.images.images
        photo, _ = shrunk(read_image(images.paths[place]), 2 * self.frame.side)
        attention = None
        if self.explainer is not None and other is not None:
            attention = picture(heat_map(photo, self.explainer.map_of(place, other)), self.frame)
        name = images.names[images.labels[place]]
        if images.cameras is not None:
            name += f", camera {images.cameras[place]}"
        return View(images.ids[place], name, picture(photo, self.frame), attention, rank, near, right)


def read_search(
    task: ReportTask, kind: str, images_of: Callable[[Mapping[str, Any], Path], RetrievalImages]
) -> SearchRun:
    """A finished run of a kind; `images_of` opens its images by its config and the folder of its data.

    Raises:
        DataError: not the folder of a finished run, or its images aren't those that it was made with.
    """
    config, metrics = task.read(kind)
    root = task.root or Path(config["root"])
    images = images_of(config, root)
    if images.digest != config["images_sha256"]:
        raise DataError(f"{describe(root)}: holds other images or classes than the run's; give its folder by --root")
    return SearchRun(task, config, metrics, images)


def _explainer(config: Mapping[str, Any], images: RetrievalImages, network: Network) -> tuple[Explainer | None, str]:
    """What draws attention with a run's first weights, and "", or None and why nothing can."""
    one = config["weights"][0]
    try:
        made = network.embedder(one["source"], one["device"], one["weights"], lambda known: identity_of(known).weights)
    except FewShotError as error:
        return None, str(error)
    preprocessing = one["spec"]["preprocessing"]
    return Explainer(made.at_size(preprocessing["size"], preprocessing.get("width")), images), ""
