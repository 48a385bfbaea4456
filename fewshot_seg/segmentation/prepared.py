"""Supports as the segmenter keeps them: encoded once, for any number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from fewshot_seg.matching.ambiguity import AMBIGUOUS, likeness_of_parts
from fewshot_seg.matching.features import FeatureExtractor, Loaded
from fewshot_seg.matching.locators import Example, Locator
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.prompts.supports import Support, support_constraints
from fewshot_seg.segmentation.second_look import constraints_of_part, part_around
from fewshot_seg.streams import read_then, worker_pool

_BATCH = 8
_CLOSE = 1.5  # sides of the object's box: the part of a support that is seen from close by
_LEAST_PART = 0.25  # of the image's longer side: less than this would be blown up beyond what it shows


@dataclass(frozen=True, eq=False)
class Prepared:
    """Supports, encoded, in the form that the segmenter's way of locating objects wants."""

    classes: tuple[str, ...]
    groups: int  # the classes and, where there are any, the negatives as one more
    state: Any = field(repr=False)
    embedder: Embedder = field(repr=False)  # to which alone they mean something
    examples: tuple[tuple[Example, ...], ...] = field(repr=False)  # of each group
    images: tuple[str, ...] = field(repr=False)  # what each of the classes' examples was

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Which examples seem to show two different things, so that it is not clear which is meant; one line each."""
        shown = [one for group in self.examples[: len(self.classes)] for one in group]
        return tuple(
            f"{image}: may show two different things; a point, box, mask or candidate says which is meant"
            for image, (features, constraints, _) in zip(self.images, shown, strict=True)
            if constraints is None and features.encoded is not None and likeness_of_parts(features.encoded) < AMBIGUOUS
        )

    @torch.inference_mode()
    def with_more(self, locator: Locator, more: Sequence[Sequence[Example]]) -> Prepared:
        """The same classes with further examples of each, prepared by the locator that prepared these."""
        added = [*more, *([()] * (self.groups - len(more)))]
        examples = tuple((*own, *others) for own, others in zip(self.examples, added, strict=True))
        return replace(self, state=locator.prepare(examples))


def encode_examples(
    extractor: FeatureExtractor, shots: Sequence[Support], workers: int, threads: int | None
) -> list[Example]:
    """The features of shots, at least one, and what is known of them; for the last two see `streams.worker_pool`.

    Raises:
        ImageError, ShapeError, DataError: a shot or what is known of it can't be read or used.
    """

    def read(shot: Support) -> list[tuple[Loaded, Constraints | None]]:
        """The image, and where a mask says what is meant the part around it, too."""
        has_mask = shot.mask is not None and bool(extractor.layers)
        loaded = extractor.load(shot.image, pixels=has_mask)
        constraints = support_constraints(shot, loaded.size)
        if not has_mask or constraints is None:
            return [(loaded, constraints)]
        part = part_around(constraints.foreground, loaded.size, _CLOSE, _LEAST_PART)
        near = extractor.load(np.ascontiguousarray(loaded.pixels[part]), False)
        return [(loaded, constraints), (near, constraints_of_part(constraints, part))]

    def encode(batch: list[list[tuple[Loaded, Constraints | None]]]) -> list[Example]:
        features = iter(extractor.features([loaded for parts in batch for loaded, _ in parts]))
        parts = [[Example(next(features), constraints) for _, constraints in one] for one in batch]
        return [one[0]._replace(close=one[1] if len(one) > 1 else None) for one in parts]

    alone = extractor.embedder.device.type == "cpu"
    with worker_pool(workers, threads) as pool:
        return list(read_then(pool, read, encode, shots, batch_size=_BATCH, workers=workers, alone=alone))
