"""Which images make a batch: pure functions of (labels, seed, epoch, number of the batch).

No sampler has a state: batch n of epoch e is the same whenever and wherever it is asked for, so that a run can
go on in the middle of an epoch, and each rank can take its part of a batch without a word to the others.

    sampler = PKSampler(labels, p=16, k=4, seed=0)
    sampler.batch(epoch, n)                     # p * k indices of images, class by class
    shard(sampler.batch(epoch, n), rank, world, sampler.unit)

The tuple samplers give flat lists, too: a, p, n, a, p, n, ...; `unit` is the length of what must stay together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, DataError

# Streams of randomness that must not be one another's copies.
_CLASSES, _IMAGES, _ANCHORS, _PARTNERS = range(4)


class BatchSampler(ABC):
    """What the data loader asks of a sampler; a tuple of labels, a seed >= 0 and batches an epoch make one.

    Attributes:
        batch_size: images in every batch.
        unit: images that belong together and stay on one rank: k of a class, or a tuple.
    """

    batch_size: int
    unit: int

    def __init__(self, labels: Sequence[int], seed: int, batches: int | None, by_default: int) -> None:
        if seed < 0:
            raise ConfigError(f"seed {seed}: must be 0 or more")
        if batches is not None and batches < 1:
            raise ConfigError(f"batches per epoch {batches}: must be 1 or more")
        self.labels = tuple(int(label) for label in labels)
        self.seed = seed
        self._length = batches or max(1, by_default)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._length

    @abstractmethod
    def batch(self, epoch: int, number: int) -> tuple[int, ...]:
        """Batch `number` of epoch `epoch`, both from 0, a pure function: `batch_size` indices, whole units."""


class PKSampler(BatchSampler):
    """p classes, k images of each.

    Within an epoch the classes come up equally often (but for those that a round of whole batches leaves over,
    which differ from round to round), and a class shows all its images before it repeats one. A class with
    fewer than k images repeats them within a batch. By default there are as many batches as p * k images, at least 1.

    Raises:
        ConfigError: p, k, seed or batches below their least. DataError: no images, or fewer than p classes.
    """

    def __init__(self, labels: Sequence[int], p: int, k: int, seed: int, batches: int | None = None) -> None:
        if p < 1 or k < 1:
            raise ConfigError(f"sampler with p {p}, k {k}: both must be 1 or more")
        super().__init__(labels, seed, batches, len(labels) // (p * k))
        self.p, self.k, self.unit, self.batch_size = p, k, k, p * k
        self._members = _members(self.labels)
        if len(self._members) < p:
            count = len(self._members)
            raise DataError(
                f"batches of {p} classes cannot be made of {count} training classes: set sampler.p={count} or less, "
                "or let more classes train (data.train_classes)"
            )

    def batch(self, epoch: int, number: int) -> tuple[int, ...]:
        """p runs of k indices, each run of one class."""
        per_round = len(self._members) // self.p
        turn, place = divmod(number, per_round)
        order = _permutation(len(self._members), self.seed, epoch, _CLASSES, turn)  # (classes,)
        chosen = order[place * self.p : (place + 1) * self.p]
        return tuple(index for c in chosen for index in self._of_class(epoch, turn, int(c)))

    def _of_class(self, epoch: int, turn: int, c: int) -> list[int]:
        """k images of the c-th class: its images in an order drawn for the epoch, going round."""
        members = self._members[c]
        order = _permutation(len(members), self.seed, epoch, _IMAGES, c)
        return [members[order[(turn * self.k + i) % len(members)]] for i in range(self.k)]


class _TupleSampler(BatchSampler):
    """Tuples that begin with an anchor; every image that can be one is, once an epoch.

    By default there are as many batches, of `tuples` tuples each, as the anchors fill, at least 1.

    Raises:
        ConfigError: a number below its least. DataError: too few classes, or no class with two images.
    """

    size: ClassVar[int]
    classes: ClassVar[int]  # that a tuple takes

    def __init__(self, labels: Sequence[int], tuples: int, seed: int, batches: int | None = None) -> None:
        if tuples < 1:
            raise ConfigError(f"sampler with {tuples} tuples a batch: must be 1 or more")
        self.tuples, self.unit, self.batch_size = tuples, self.size, tuples * self.size
        self._members = _members(labels)
        self._class_of = {index: c for c, members in enumerate(self._members) for index in members}
        self._anchors = tuple(i for i, c in sorted(self._class_of.items()) if len(self._members[c]) > 1)
        super().__init__(labels, seed, batches, len(self._anchors) // tuples)
        if len(self._members) < self.classes:
            raise DataError(f"tuples of {self.classes} classes cannot be made of {len(self._members)}")
        if not self._anchors:
            raise DataError("no class has two images, so there are no positives; add images")

    def batch(self, epoch: int, number: int) -> tuple[int, ...]:
        """`tuples` tuples of `size` indices, one after the other."""
        found: list[int] = []
        for place in range(number * self.tuples, (number + 1) * self.tuples):
            turn, slot = divmod(place, len(self._anchors))
            order = _permutation(len(self._anchors), self.seed, epoch, _ANCHORS, turn)
            rng = _generator(self.seed, epoch, _PARTNERS, place)
            found.extend(self._tuple(self._anchors[order[slot]], place, rng))
        return tuple(found)

    def _tuple(self, anchor: int, place: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Anchor, positive, and an image of each of `classes - 1` further classes."""
        return (anchor, self._positive(anchor, rng), *self._negatives(anchor, self.classes - 1, rng))

    def _positive(self, anchor: int, rng: np.random.Generator) -> int:
        others = [index for index in self._members[self._class_of[anchor]] if index != anchor]
        return others[rng.integers(len(others))]

    def _negatives(self, anchor: int, number: int, rng: np.random.Generator) -> list[int]:
        """Images of `number` different other classes, every class as likely."""
        own = self._class_of[anchor]
        drawn = rng.choice(len(self._members) - 1, size=number, replace=False).tolist()
        classes = [c + (c >= own) for c in drawn]
        return [self._members[c][rng.integers(len(self._members[c]))] for c in classes]


class PairSampler(_TupleSampler):
    """Pairs (a, b): of one class and of two in turn, so half of each over an epoch."""

    size, classes = 2, 2

    def _tuple(self, anchor: int, place: int, rng: np.random.Generator) -> tuple[int, ...]:
        if place % 2 == 0:
            return anchor, self._positive(anchor, rng)
        return (anchor, *self._negatives(anchor, 1, rng))


class TripletSampler(_TupleSampler):
    """Triplets (a, p, n)."""

    size, classes = 3, 2


class QuadrupletSampler(_TupleSampler):
    """Quadruplets (a, p, n1, n2), the two negatives of two different classes."""

    size, classes = 4, 3


def shard(batch: Sequence[int], rank: int, world: int, unit: int) -> tuple[int, ...]:
    """The part of a batch, of whole units, that a rank takes; all parts, in the ranks' order, are the batch.

    Raises:
        ConfigError: the ranks cannot have equal parts of whole units, or there is no such rank.
    """
    if not 0 <= rank < world:
        raise ConfigError(f"rank {rank} of {world}: must be 0 to {world - 1}")
    units, rest = divmod(len(batch), unit)
    if rest or units % world:
        raise ConfigError(f"{units} classes or tuples a batch cannot be shared out over {world} processes equally")
    part = units // world * unit
    return tuple(batch[rank * part : (rank + 1) * part])


def _members(labels: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The indices of each class that has any, classes in the order of their labels."""
    if not len(labels):
        raise DataError("no images to sample from")
    found: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        found.setdefault(int(label), []).append(index)
    return tuple(tuple(found[label]) for label in sorted(found))


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


@lru_cache(maxsize=64)
def _permutation(number: int, *key: int) -> NDArray[np.int64]:
    """(number,) a permutation of 0..number-1, a pure function of its arguments; not to be written to."""
    order = _generator(*key).permutation(number)
    order.flags.writeable = False
    return order
