"""A protocol for small data: all pairs, instead of draws."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from fewshot_seg.datasets import Entry, SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols.base import EpisodeProtocol, draw


class Native(EpisodeProtocol):
    """All pairs (query, support) in a fixed design, for small data: nothing is left to luck but the start.

    The episodes come in rounds. In each round every entry of the list is the query once, in the list's order; in round
    r its supports are the r-th to (r + K - 1)-th of its class's other images, in an order that the seed shuffles once
    for each class, around in a circle. So after each round every query was used equally often; within a class every
    image was a support equally often (1-way); and after n - 1 rounds all pairs of a class of n images were there, each
    K times. `len` is as many rounds as the largest class needs; smaller ones begin again.

    With `way` > 1 the other classes go around in the same way, those that the query holds before the others.
    """

    name = "native"

    def __init__(
        self, dataset: SegmentationDataset, classes: Iterable[int], shot: int, way: int = 1, seed: int | None = None
    ) -> None:
        super().__init__(dataset, classes, shot, way, seed)
        self._circles = {label: draw(images, None, self.seed, 0, stream=label) for label, images in self._pools.items()}
        self._on_circle = {label: {image: n for n, image in enumerate(one)} for label, one in self._circles.items()}

    def __len__(self) -> int:
        return len(self._entries) * (max(map(len, self._pools.values())) - 1)

    def episode(self, index: int) -> Episode:
        """Episode `index`; see `EpisodeProtocol.episode`."""
        turn, place = divmod(index, len(self._entries))
        entry = self._entries[place]
        classes = self._turned_classes(entry, turn)
        taken = {entry.image}
        supports = {}
        for label in self._scarcest_first(classes):
            others = self._others(entry.image, label, turn, place)
            free = list(itertools.islice((image for image in others if image not in taken), self.shot))
            self._check_enough(free, index, label)
            supports[label] = tuple(free)
            taken.update(supports[label])
        return Episode(index, entry.image, classes, {label: supports[label] for label in classes})

    def _others(self, query: str, label: int, turn: int, place: int) -> Iterator[str]:
        """The class's images but the query, around the circle from where the round has come to."""
        circle, places = self._circles[label], self._on_circle[label]
        start = places.get(query, place) + 1
        count = len(circle) - (query in places)
        for step in range(count):
            yield circle[(start + (turn + step) % count) % len(circle)]

    def _turned_classes(self, entry: Entry, turn: int) -> tuple[int, ...]:
        if self.way == 1:
            return (entry.label,)
        held = self.dataset.labels(entry.image)
        others = [label for label in self.classes if label != entry.label]
        turned: list[int] = []
        for group in ([one for one in others if one in held], [one for one in others if one not in held]):
            turned += [group[(turn + step) % len(group)] for step in range(len(group))]
        return tuple(sorted([entry.label, *turned[: self.way - 1]]))
