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

from collections.abc import Iterable, Mapping
from typing import Final

from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols.base import EpisodeProtocol
from fewshot_seg.episodes.protocols.native import Native
from fewshot_seg.episodes.protocols.published import Hsnet, Panet, Pfenet
from fewshot_seg.errors import ConfigError

_MOST: Final = 1_000_000

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
