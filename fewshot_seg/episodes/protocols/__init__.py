"""Protocols: which episodes a list gives. An episode is a pure function of (list, protocol, seed, index).

Each follows the code that its figures were published with: which image is the query, which classes and supports are
drawn, how often. The draws themselves are this project's own: the originals draw one number after the other from
Python's or numpy's global generator, so that no episode can be had without those before it, and other versions give
other ones. An episode here doesn't depend on how many there are, so that a run can be resumed, lengthened or shared
out, and 1-shot supports are the first of the 5-shot ones. No image stands in an episode twice; HSNet's code may take a
support twice, and PANet's an image for two classes.

Where N-way episodes are no part of the original (all but PANet's), the other classes are drawn from those that
the query holds too, as long as there are any, then from the rest. That alone reads masks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

from fewshot_seg.datasets import Entry, SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols.base import CLASS_STREAM, QUERY_STREAM, EpisodeProtocol, draw
from fewshot_seg.errors import ConfigError

_MOST: Final = 1_000_000


class Hsnet(EpisodeProtocol):
    """HSNet's (Min, Kang, Cho, ICCV 2021): 1,000 episodes; query n is entry n mod len.

    As in its code, COCO-20i's queries are drawn instead, the class first, and folders of classes (FSS-1000) have
    as many episodes as images.
    """

    name = "hsnet"

    def __len__(self) -> int:
        return len(self._entries) if self.dataset.name == "folder" else 1000

    def _drawn(self, index: int) -> tuple[str, tuple[int, ...]]:
        entry = self._entries[index % len(self._entries)]
        if self.dataset.name == "coco20i":
            (label,) = draw(self.classes, 1, self.seed, index, stream=QUERY_STREAM)
            (image,) = draw(self._pools[label], 1, self.seed, index, stream=QUERY_STREAM + label)
            entry = Entry(image, label)
        return self._with_others(entry, index)


class Pfenet(EpisodeProtocol):
    """PFENet's (Tian et al., TPAMI 2020): 5,000 episodes (COCO-20i: 20,000), seed 321; query n is image n mod len.

    An image of several classes is one query, and its class is drawn. The original draws among all the fold's classes
    in the mask, here among those listed for the image (and it tests one episode more than it says, 5,001).
    """

    name = "pfenet"
    default_seed = 321

    def __len__(self) -> int:
        return 20_000 if self.dataset.name == "coco20i" else 5000

    @cached_property
    def _queries(self) -> list[tuple[str, list[int]]]:
        by_image: dict[str, list[int]] = {}
        for entry in self._entries:
            by_image.setdefault(entry.image, []).append(entry.label)
        return list(by_image.items())

    def _drawn(self, index: int) -> tuple[str, tuple[int, ...]]:
        image, labels = self._queries[index % len(self._queries)]
        (label,) = draw(labels, 1, self.seed, index, stream=QUERY_STREAM)
        return self._with_others(Entry(image, label), index)


class Panet(EpisodeProtocol):
    """PANet's (Wang et al., ICCV 2019): 5 runs of 1,000 episodes, seed 1234, scored at 417 x 417.

    N of the fold's classes are drawn, then one of them for the query, then the query and the supports from the class's
    images: in N-way episodes the query need not hold the others. (The original takes the images from VOC's augmented
    training part; here they are from the list. Its runs have seeds 1234 to 1238; here they are parts of one series.)
    """

    name = "panet"
    default_seed = 1234
    runs = 5
    scoring_size = (417, 417)

    def __len__(self) -> int:
        return 5000

    def _drawn(self, index: int) -> tuple[str, tuple[int, ...]]:
        classes = draw(self.classes, self.way, self.seed, index, stream=CLASS_STREAM)
        (query,) = draw(self._pools[classes[0]], 1, self.seed, index, stream=QUERY_STREAM)
        return query, tuple(sorted(classes))


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

    @cached_property
    def _circles(self) -> dict[int, tuple[list[str], dict[str, int]]]:
        """Class -> its images in the shuffled order, and the place of each."""
        drawn = {label: draw(images, None, self.seed, 0, stream=label) for label, images in self._pools.items()}
        return {label: (images, {image: n for n, image in enumerate(images)}) for label, images in drawn.items()}

    def __len__(self) -> int:
        return len(self._entries) * (max(map(len, self._pools.values())) - 1)

    def _drawn(self, index: int) -> tuple[str, tuple[int, ...]]:
        return self._with_others(self._entries[index % len(self._entries)], index)

    def _supports(self, index: int, query: str, label: int, taken: set[str]) -> tuple[str, ...]:
        """The class's images but those taken, around the circle from where the round has come to."""
        turn, place = divmod(index, len(self._entries))
        circle, places = self._circles[label]
        start = places.get(query, place) + 1
        count = len(circle) - (query in places)
        others = (circle[(start + (turn + step) % count) % len(circle)] for step in range(count))
        return tuple(itertools.islice((image for image in others if image not in taken), self.shot))

    def _ordered(self, others: list[int], held: frozenset[int], index: int) -> list[int]:
        turn = index // len(self._entries)
        turned: list[int] = []
        for group in ([one for one in others if one in held], [one for one in others if one not in held]):
            start = turn % max(len(group), 1)
            turned += group[start:] + group[:start]
        return turned


PROTOCOLS: Final[Mapping[str, type[EpisodeProtocol]]] = {one.name: one for one in (Hsnet, Pfenet, Panet, Native)}


def build_protocol(
    name: str, dataset: SegmentationDataset, classes: Iterable[int], shot: int, way: int = 1, seed: int | None = None
) -> EpisodeProtocol:
    """The protocol called `name`; for the others see `EpisodeProtocol`.

    Raises:
        ConfigError: no such protocol, or an impossible number. DataError: a class with fewer than shot + 1 images.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}: choose {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name](dataset, classes, shot, way, seed)


def draw_episodes(protocol: EpisodeProtocol, count: int | None = None) -> list[Episode]:
    """The first `count` episodes; None means as many as the protocol is made of.

    Raises:
        ConfigError: fewer than one, or by default more than a million ("native" on a large list).
        DataError: as `EpisodeProtocol.episode`.
    """
    if count is None and len(protocol) > _MOST:
        raise ConfigError(f"protocol {protocol.name!r} has {len(protocol)} episodes here; say how many (--episodes)")
    count = len(protocol) if count is None else count
    if count < 1:
        raise ConfigError(f"episodes {count}: must be at least 1")
    return [protocol.episode(index) for index in range(count)]
