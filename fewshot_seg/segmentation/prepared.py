"""Supports as the segmenter keeps them: encoded once, for any number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from fewshot_seg.matching.ambiguity import AMBIGUOUS, likeness_of_parts
from fewshot_seg.matching.features import FeatureExtractor, Loaded
from fewshot_seg.matching.locators import Example, Locator
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.hints import Marks
from fewshot_seg.prompts.supports import Support, support_marks
from fewshot_seg.streams import read_then, worker_pool

_BATCH = 8


@dataclass(frozen=True, eq=False)
class Prepared:
    """Supports, encoded, in the form that the segmenter's way of locating objects wants.

    They mean something to the embedder that made them alone, so it is kept with them. `groups` counts the
    classes and, where there are any, the negatives as one more; `examples` are those of each, and `images` says what
    each of the classes' examples was.
    """

    classes: tuple[str, ...]
    groups: int
    state: Any = field(repr=False)
    embedder: Embedder = field(repr=False)
    examples: tuple[tuple[Example, ...], ...] = field(repr=False)
    images: tuple[str, ...] = field(repr=False)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Which examples seem to show two different things, so that it is not clear which is meant; one line each."""
        shown = [one for group in self.examples[: len(self.classes)] for one in group]
        return _notes_of(self.images, shown)

    @torch.inference_mode()
    def with_more(self, locator: Locator, more: Sequence[Sequence[Example]]) -> Prepared:
        """The same classes with further examples of each, prepared by the locator that prepared these."""
        added = [*more, *([()] * (self.groups - len(more)))]
        examples = tuple((*own, *others) for own, others in zip(self.examples, added, strict=True))
        return replace(self, state=locator.prepare(examples))


def encode_examples(
    extractor: FeatureExtractor, shots: Sequence[Support], workers: int, threads: int | None
) -> list[Example]:
    """The shots' features, and what is known of them.

    Args:
        extractor: reads and encodes.
        shots: at least one.
        workers: threads.
        threads: as `streams.worker_pool` takes them.

    Raises:
        ImageError, ShapeError, DataError: a shot or what is known of it can't be read or used.
    """

    def read(shot: Support) -> tuple[Loaded, Marks | None]:
        loaded = extractor.load(shot.image, pixels=False)
        return loaded, support_marks(shot, loaded.size)

    def encode(batch: list[tuple[Loaded, Marks | None]]) -> list[Example]:
        features = extractor.features([loaded for loaded, _ in batch])
        return [Example(one, marks) for one, (_, marks) in zip(features, batch, strict=True)]

    alone = extractor.embedder.device.type == "cpu"
    with worker_pool(workers, threads) as pool:
        return list(read_then(pool, read, encode, shots, batch_size=_BATCH, workers=workers, alone=alone))


def _notes_of(images: Sequence[str], examples: Sequence[Example]) -> tuple[str, ...]:
    """Which examples, of which nothing is known, seem to show two different things."""
    found = []
    for image, (features, marks) in zip(images, examples, strict=True):
        if marks is None and features.encoded is not None and likeness_of_parts(features.encoded) < AMBIGUOUS:
            found.append(f"{image}: may show two different things; a point, box or mask says which is meant")
    return tuple(found)
