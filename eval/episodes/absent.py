"""Queries that show nothing of what is looked for: what is measured on them is whether the masks stay empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols.base import draw
from fewshot_seg.errors import DataError

ABSENT_STREAM: Final = 2**33  # of one episode's random numbers, beside those of the protocols
_FIRST_TRIES: Final = 16


def with_absent(episodes: Sequence[Episode], dataset: SegmentationDataset, seed: int) -> list[Episode]:
    """After each episode the same one with another query, whose mask holds none of its classes.

    That query is a pure function of (the data set's list, seed, the episode). It may hold other classes of the list,
    and mostly does.

    Args:
        episodes: as a protocol draws them.
        dataset: whose listed images are drawn from.
        seed: 0 to 2^63 - 1.

    Returns:
        Twice as many, numbered from 0: even ones as given, odd ones without their classes.

    Raises:
        DataError: no image lacks an episode's classes, or a bad mask.
    """
    images = list(dict.fromkeys(entry.image for entry in dataset.entries))
    pairs = ((one, replace(one, query=_draw_absent(one, dataset, images, seed))) for one in episodes)
    return [replace(one, index=2 * place + n) for place, pair in enumerate(pairs) for n, one in enumerate(pair)]


def _draw_absent(episode: Episode, dataset: SegmentationDataset, images: Sequence[str], seed: int) -> str:
    classes = set(episode.classes)
    shots = {image for group in episode.supports.values() for image in group}
    count = min(_FIRST_TRIES, len(images))
    for tries in dict.fromkeys((count, len(images))):  # few mostly do; the longer draw begins with the shorter
        for image in draw(images, tries, seed, episode.index, stream=ABSENT_STREAM):
            if image not in shots and not classes & dataset.labels(image):
                return image
    names = ", ".join(dataset.class_names[label - 1] for label in episode.classes)
    raise DataError(f"episode {episode.index}: every listed image shows {names}; give a list with other images, too")
