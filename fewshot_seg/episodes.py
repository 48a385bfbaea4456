"""Episodes: which image is segmented by which supports. A pure function of (list, seed, index).

An episode doesn't depend on how many there are or on the ones before it, so that a run can be resumed,
lengthened or shared out, and 1-shot supports are the first of the 5-shot ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fewshot_seg.datasets import Entry, SegmentationDataset
from fewshot_seg.decode import describe
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.export import atomic_file

__all__ = [
    "Episode",
    "HsnetProtocol",
    "hsnet_episodes",
    "read_episodes",
    "small_classes",
    "write_episodes",
]

T = TypeVar("T")

MAX_SEED = 2**63 - 1
_CLASS_DRAW = 0  # the stream that draws an episode's classes; class c's supports come from stream c


@dataclass(frozen=True)
class Episode:
    """One query, and the supports of each class to be cut out of it.

    Attributes:
        index: its number, from 0.
        query: image id.
        classes: 1-based, ascending: the order says nothing about which of them the query holds.
        supports: class -> its K image ids, in the order of `classes`. No image stands in an episode twice.
    """

    index: int
    query: str
    classes: tuple[int, ...]
    supports: Mapping[int, tuple[str, ...]]

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """{"index", "query", "supports": {class name: [ids]}}: a line of episodes.jsonl."""
        supports = {class_names[label - 1]: list(self.supports[label]) for label in self.classes}
        return {"index": self.index, "query": self.query, "supports": supports}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], class_names: Sequence[str]) -> Episode:
        """What `to_dict` wrote.

        Raises:
            DataError: another form, or an unknown class.
        """
        try:
            named = {str(name): tuple(map(_text, ids)) for name, ids in values["supports"].items()}
            index, query = int(values["index"]), _text(values["query"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError('not of the form {"index", "query", "supports": {class: [ids]}}') from error
        if unknown := sorted(set(named) - set(class_names)):
            raise DataError(f"unknown class {unknown[0]!r}")
        if not named or not all(named.values()):
            raise DataError("a class without supports, or no class")
        supports = dict(sorted((class_names.index(name) + 1, ids) for name, ids in named.items()))
        return cls(index, query, tuple(supports), supports)


class HsnetProtocol:
    """HSNet's episodes: query n is entry n mod len; supports are drawn from the same list, of the same class.

    With `way` > 1, the other classes are drawn from those that the query holds too, as long as there are any,
    then from the rest. Only `way` > 1 reads masks. (Min, Kang, Cho, "Hypercorrelation Squeeze", ICCV 2021.)

    Args:
        dataset: whose list.
        classes: of the fold, 1-based; other entries don't count.
        shot: K, supports of each class.
        way: N, classes of an episode.
        seed: 0 to 2^63 - 1.

    Raises:
        ConfigError: an impossible number. DataError: a class with fewer than shot + 1 images.
    """

    def __init__(
        self, dataset: SegmentationDataset, classes: Iterable[int], shot: int, way: int = 1, seed: int = 0
    ) -> None:
        self.dataset, self.shot, self.way, self.seed = dataset, shot, way, seed
        self.classes = tuple(sorted(set(classes)))
        self._check_numbers()
        if small := small_classes(dataset, self.classes, shot):
            raise DataError(_small_message(dataset, small, shot))
        members = set(self.classes)
        self._entries = [entry for entry in dataset.entries if entry.label in members]
        self._pools = _pools(dataset, self.classes)

    def __len__(self) -> int:
        """Queries in the list: so many episodes use each of them once."""
        return len(self._entries)

    def episode(self, index: int) -> Episode:
        """Episode `index`, from 0 up without end.

        Raises:
            DataError: the classes share so many images that there are too few (N-way only), or a bad mask.
        """
        entry = self._entries[index % len(self._entries)]
        classes = self._draw_classes(entry, index)
        taken = {entry.image}
        supports = {}
        for label in sorted(classes, key=lambda one: (len(self._pools[one]), one)):  # the scarcest first
            free = [image for image in self._pools[label] if image not in taken]
            if len(free) < self.shot:
                name = self.dataset.class_names[label - 1]
                shared = f"{len(free)} images of {name!r} are left for {self.shot} supports"
                raise DataError(f"episode {index}: {shared}; lower shots or ways, or give a longer list")
            supports[label] = tuple(_draw(free, self.shot, self.seed, index, stream=label))
            taken.update(supports[label])
        return Episode(index, entry.image, classes, {label: supports[label] for label in classes})

    def _draw_classes(self, entry: Entry, index: int) -> tuple[int, ...]:
        if self.way == 1:
            return (entry.label,)
        held = self.dataset.labels(entry.image)
        others = [label for label in self.classes if label != entry.label]
        order = _draw(others, None, self.seed, index, stream=_CLASS_DRAW)
        order.sort(key=lambda label: label not in held)  # stable: the drawn order stays within either part
        return tuple(sorted([entry.label, *order[: self.way - 1]]))

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


def hsnet_episodes(
    dataset: SegmentationDataset,
    classes: Iterable[int],
    shot: int,
    *,
    way: int = 1,
    count: int,
    seed: int = 0,
) -> list[Episode]:
    """The first `count` episodes of `HsnetProtocol`; see there for arguments and errors."""
    if count < 1:
        raise ConfigError(f"episodes {count}: must be at least 1")
    protocol = HsnetProtocol(dataset, classes, shot, way, seed)
    return [protocol.episode(index) for index in range(count)]


def small_classes(dataset: SegmentationDataset, classes: Iterable[int], shot: int) -> dict[int, int]:
    """The classes that have too few images for `shot` supports and a query: class -> its images."""
    counts = {label: len(images) for label, images in _pools(dataset, tuple(classes)).items()}
    return {label: count for label, count in counts.items() if count < shot + 1}


def write_episodes(path: str | os.PathLike[str], episodes: Iterable[Episode], class_names: Sequence[str]) -> None:
    """Write episodes.jsonl: one JSON object a line; the file appears whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    with atomic_file(path) as stream:
        for episode in episodes:
            line = json.dumps(episode.to_dict(class_names), ensure_ascii=False)
            stream.write(line.encode("utf-8", "backslashreplace") + b"\n")


def read_episodes(path: str | os.PathLike[str], class_names: Sequence[str]) -> list[Episode]:
    """The episodes of a file that `write_episodes` wrote.

    Raises:
        DataError: no such file, or a bad line (with file and line).
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{describe(path)}: cannot read the episodes: {error}") from error
    return [_parse(line, f"{describe(path)}:{number}", class_names) for number, line in enumerate(lines, start=1)]


def _parse(line: str, where: str, class_names: Sequence[str]) -> Episode:
    try:
        return Episode.from_dict(json.loads(line), class_names)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not a line of JSON; write the file again") from error
    except DataError as error:
        raise DataError(f"{where}: {error}; write the file again") from error


def _pools(dataset: SegmentationDataset, classes: tuple[int, ...]) -> dict[int, list[str]]:
    """Class -> its images, in the list's order, each once."""
    pools: dict[int, dict[str, None]] = {label: {} for label in classes}
    for entry in dataset.entries:
        if entry.label in pools:
            pools[entry.label][entry.image] = None
    return {label: list(images) for label, images in pools.items()}


def _draw(items: Sequence[T], count: int | None, seed: int, index: int, stream: int) -> list[T]:
    """`count` of the items (None: all) in a drawn order, none twice; fewer draws are a prefix of more.

    A counter-based generator's raw bits, for these are the same in every version of numpy; its `choice` and
    `shuffle` may change.
    """
    count = len(items) if count is None else count
    bits = np.random.Philox(key=index << 64 | seed, counter=stream << 128).random_raw(max(count, 1)).tolist()
    rest = list(items)
    for place in range(count):
        other = place + bits[place] % (len(rest) - place)
        rest[place], rest[other] = rest[other], rest[place]
    return rest[:count]


def _small_message(dataset: SegmentationDataset, small: Mapping[int, int], shot: int) -> str:
    names = ", ".join(f"{dataset.class_names[label - 1]} ({count})" for label, count in small.items())
    what = f"{shot}-shot episodes need {shot + 1} images of each class; too few of {names}"
    return f"{what}; give a longer list, or leave such classes out (--skip-small-classes)"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no image id")
    return value
