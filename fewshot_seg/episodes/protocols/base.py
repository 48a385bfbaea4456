"""What protocols have in common: their numbers, the drawing, and which classes have enough images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, TypeVar

import numpy as np

from fewshot_seg.datasets import Entry, SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.errors import ConfigError, DataError

T = TypeVar("T")

MAX_SEED: Final = 2**63 - 1
# Streams of one episode's random numbers; class c's supports come from stream c.
CLASS_STREAM: Final = 0
QUERY_STREAM: Final = 2**32


class EpisodeProtocol(ABC):
    """What every protocol is made of; a subclass says which query and which classes episode `index` has.

    Args:
        dataset: whose list.
        classes: of the fold, 1-based; other entries don't count.
        shot: K, supports of each class.
        way: N, classes of an episode.
        seed: 0 to 2^63 - 1; None means the protocol's own.

    Attributes:
        name: as `build_protocol` takes it.
        default_seed: the original code's seed.
        runs: the episodes are so many runs of equal length, one after the other; figures are their mean.
        scoring_size: (H, W) at which predictions are scored; None means each query's own.

    Raises:
        ConfigError: an impossible number. DataError: a class with fewer than shot + 1 images.
    """

    name: ClassVar[str]
    default_seed: ClassVar[int] = 0
    runs: ClassVar[int] = 1
    scoring_size: ClassVar[tuple[int, int] | None] = None

    def __init__(
        self, dataset: SegmentationDataset, classes: Iterable[int], shot: int, way: int = 1, seed: int | None = None
    ) -> None:
        self.dataset, self.shot, self.way = dataset, shot, way
        self.seed = self.default_seed if seed is None else seed
        self.classes = tuple(sorted(set(classes)))
        self._check_numbers()
        if small := small_classes(dataset, self.classes, shot):
            names = ", ".join(f"{dataset.class_names[label - 1]} ({count})" for label, count in small.items())
            what = f"{shot}-shot episodes need {shot + 1} images of each class; too few of {names}"
            raise DataError(f"{what}; give a longer list, or leave such classes out (--skip-small-classes)")
        members = set(self.classes)
        self._entries = [entry for entry in dataset.entries if entry.label in members]
        self._pools = pools(dataset, self.classes)
        self._places = {label: {image: n for n, image in enumerate(pool)} for label, pool in self._pools.items()}

    @abstractmethod
    def __len__(self) -> int:
        """How many episodes the protocol is made of; `episode` goes on beyond them."""

    @abstractmethod
    def _drawn(self, index: int) -> tuple[str, tuple[int, ...]]:
        """The query of episode `index`, and its classes, ascending."""

    def episode(self, index: int) -> Episode:
        """Episode `index`, from 0 up without end.

        Raises:
            DataError: the classes share so many images that there are too few (N-way only), or a bad mask.
        """
        query, classes = self._drawn(index)
        taken = {query}
        supports = {}
        for label in sorted(classes, key=lambda label: (len(self._pools[label]), label)):  # the scarcest first
            supports[label] = self._supports(index, query, label, taken)
            if len(supports[label]) < self.shot:
                name = self.dataset.class_names[label - 1]
                shared = f"{len(supports[label])} images of {name!r} are left for {self.shot} supports"
                raise DataError(f"episode {index}: {shared}; lower shots or ways, or give a longer list")
            taken.update(supports[label])
        return Episode(index, query, classes, {label: supports[label] for label in classes})

    def _supports(self, index: int, query: str, label: int, taken: set[str]) -> tuple[str, ...]:
        """As many as `shot` images of a class, none of those taken; fewer where there are no more."""
        pool, places = self._pools[label], self._places[label]
        skipped = sorted(places[image] for image in taken if image in places)
        free = range(len(pool) - len(skipped))  # not a list: COCO has 45,000 images of people
        count = min(self.shot, len(free))
        return tuple(pool[passing_over(n, skipped)] for n in draw(free, count, self.seed, index, stream=label))

    def _with_others(self, entry: Entry, index: int) -> tuple[str, tuple[int, ...]]:
        """The entry's image; its class and way - 1 others, ascending."""
        if self.way == 1:
            return entry.image, (entry.label,)
        others = [label for label in self.classes if label != entry.label]
        order = self._ordered(others, self.dataset.labels(entry.image), index)
        return entry.image, tuple(sorted([entry.label, *order[: self.way - 1]]))

    def _ordered(self, others: list[int], held: frozenset[int], index: int) -> list[int]:
        """Other classes in the order in which they are taken: first such as the query holds."""
        order = draw(others, None, self.seed, index, stream=CLASS_STREAM)
        return sorted(order, key=lambda label: label not in held)  # stable: the drawn order stays within either part

    def _check_numbers(self) -> None:
        known = len(self.dataset.class_names)
        if not self.classes or not all(1 <= label <= known for label in self.classes):
            raise ConfigError(f"classes {list(self.classes)}: give numbers from 1 to {known}, at least one")
        if self.shot < 1:
            raise ConfigError(f"shot {self.shot}: must be at least 1")
        if not 1 <= self.way <= len(self.classes):
            raise ConfigError(f"way {self.way}: must be from 1 to the number of classes, {len(self.classes)}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"seed {self.seed}: must be from 0 to {MAX_SEED}")


def passing_over(place: int, skipped: Iterable[int]) -> int:
    """The place in a sequence of item `place` of those that are not skipped; `skipped` ascends."""
    for one in skipped:
        place += place >= one
    return place


def small_classes(dataset: SegmentationDataset, classes: Iterable[int], shot: int) -> dict[int, int]:
    """The classes that have too few images for `shot` supports and a query: class -> its images."""
    counts = {label: len(images) for label, images in pools(dataset, tuple(classes)).items()}
    return {label: count for label, count in counts.items() if count < shot + 1}


def pools(dataset: SegmentationDataset, classes: tuple[int, ...]) -> dict[int, list[str]]:
    """Class -> its images, in the list's order, each once."""
    pools: dict[int, dict[str, None]] = {label: {} for label in classes}
    for entry in dataset.entries:
        if entry.label in pools:
            pools[entry.label][entry.image] = None
    return {label: list(images) for label, images in pools.items()}


def draw(items: Sequence[T], count: int | None, seed: int, index: int, stream: int) -> list[T]:
    """`count` of the items (None: all) in a drawn order, none twice; fewer draws are a prefix of more.

    A counter-based generator's raw bits, for these are the same in every version of numpy; its `choice` and
    `shuffle` may change.
    """
    count = len(items) if count is None else count
    bits = np.random.Philox(key=index << 64 | seed, counter=stream << 128).random_raw(max(count, 1)).tolist()
    moved: dict[int, int] = {}  # where a shuffled list would differ from `items`: few draws of many cost little
    for place in range(count):
        other = place + bits[place] % (len(items) - place)
        moved[place], moved[other] = moved.get(other, other), moved.get(place, place)
    return [items[moved[place]] for place in range(count)]
