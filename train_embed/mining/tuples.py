"""Tuples of a batch for similarity mining, each image in about one: a pure function of (labels, seed, step)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from train_embed.config.loss_schema import TupleKind

TUPLE_SIZES: dict[TupleKind, int] = {"pair": 2, "triplet": 3, "quadruplet": 4}
"""Images of a tuple."""


def mining_tuples(labels: Tensor, kind: TupleKind, seed: int, step: int, shards: int = 1) -> Tensor:
    """Tuples of the batch for mining: an anchor, a positive, and a negative for each further class.

    Anchors and positives are a random set of pairs that share no image; negatives are drawn from the images left
    over, each once while they last. So T is at most ``B // size`` and a pass over all images of all tuples costs no
    more than one over the batch. T is smaller where too few images have a partner of their class, and 0 for
    triplets of a batch with one class (quadruplets: with two).

    Args:
        labels: (B,) whole numbers.
        kind: "pair" (of the same class), "triplet" or "quadruplet".
        seed: of the run, >= 0.
        step: of the run, >= 0; each gives other tuples.
        shards: tuples stay within so many equal parts of the batch. One process with the whole batch and
            `shards=N` gets the tuples that N ranks, each with its part of the batch, draw on their own.

    Returns:
        (T,2), (T,3) or (T,4) int64 indices into the batch, on the labels' device.

    Raises:
        ConfigError: an unknown kind, or a batch that doesn't fall into so many equal parts.
        ShapeError: labels that aren't (B,).
    """
    if kind not in TUPLE_SIZES:
        raise ConfigError(f"unknown kind of tuple {kind!r}: choose {', '.join(TUPLE_SIZES)}")
    if labels.ndim != 1:
        raise ShapeError(f"expected labels (B,), got {tuple(labels.shape)}")
    if shards < 1 or len(labels) % shards:
        raise ConfigError(f"a batch of {len(labels)} images does not fall into {shards} equal parts")
    size = TUPLE_SIZES[kind]
    values = labels.tolist()
    length = len(values) // shards
    found: list[list[int]] = []
    for shard in range(shards):
        start = shard * length
        part = _draw(values[start : start + length], size, np.random.default_rng([seed, step]))
        found += [[start + i for i in row] for row in part]
    return torch.tensor(found, dtype=torch.int64, device=labels.device).reshape(-1, size)


def check_tuples(tuples: Tensor, kind: TupleKind) -> None:
    """ShapeError unless tuples are (T,size) with the kind's size."""
    size = TUPLE_SIZES[kind]
    if tuples.ndim != 2 or tuples.shape[1] != size:
        raise ShapeError(f"expected {kind} tuples of shape (T,{size}), got {tuple(tuples.shape)}")


def _draw(labels: Sequence[int], size: int, rng: np.random.Generator) -> list[list[int]]:
    """Tuples of one part of a batch."""
    order = rng.permutation(len(labels)).tolist()
    pairs = _pairs(labels, order)
    pairs = [pairs[i] for i in rng.permutation(len(pairs))][: len(labels) // size]
    used = {i for pair in pairs for i in pair}
    spare = [i for i in order if i not in used]
    tuples: list[list[int]] = []
    for pair in pairs:
        chosen = list(pair)
        while len(chosen) < size:
            negative = _negative(labels, chosen, spare, rng)
            if negative is None:
                return tuples
            chosen.append(negative)
        tuples.append(chosen)
    return tuples


def _pairs(labels: Sequence[int], order: Sequence[int]) -> list[tuple[int, int]]:
    """As many pairs of the same class as there are, no image in two."""
    waiting: dict[int, int] = {}
    pairs = []
    for i in order:
        if (partner := waiting.pop(labels[i], None)) is None:
            waiting[labels[i]] = i
        else:
            pairs.append((partner, i))
    return pairs


def _negative(labels: Sequence[int], chosen: Sequence[int], spare: list[int], rng: np.random.Generator) -> int | None:
    """An image of a class not chosen yet: taken from `spare` if it has one, else any; None if there is none."""
    taken = {labels[i] for i in chosen}
    for place, i in enumerate(spare):
        if labels[i] not in taken:
            return spare.pop(place)
    others = [i for i, label in enumerate(labels) if label not in taken]
    return others[rng.integers(len(others))] if others else None
