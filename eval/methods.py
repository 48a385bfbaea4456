"""What is compared on the same episodes: the segmenter, parts of it changed in turn, and two blind baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.decode import describe, read_image
from fewshot_seg.episodes import Episode
from fewshot_seg.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fewshot_seg.embedding import Embedder
    from fewshot_seg.features import FeatureCache
    from fewshot_seg.segmenter import SegmenterOptions, Support

__all__ = ["METHODS", "Engine", "Method", "build_method", "centre_box", "episode_supports", "needs_network"]

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "ours": {},
    "attention": {"refine": "none"},
    "paper": {"weighting": "paper"},
    "paper-letter": {"weighting": "paper", "through_norm": True},
}
"""The segmenter's methods: what each changes of the default options."""

METHODS = (*CHANGES, "all-foreground", "centre-box")

_BOX_SIDE = math.sqrt(0.5)  # of each side: half of the area

Method = Callable[[SegmentationDataset, Episode], NDArray[Any]]
"""An episode to a label map (H, W) at the query's native size: 0 background, i + 1 its i-th class."""


@dataclass(frozen=True, eq=False)
class Engine:
    """The network that methods run on, what it has said already, and whether supports come with their masks.

    `changes` are of the segmenter's default options, as `SegmenterOptions.from_dict` takes them.
    """

    embedder: Embedder
    support_masks: bool = False
    seed: int = 0
    cache: FeatureCache | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def options(self, method: str) -> SegmenterOptions:
        """How the segmenter runs for a method that needs it: the defaults, `changes`, and the method's own."""
        from fewshot_seg.segmenter import SegmenterOptions

        return SegmenterOptions.from_dict({"seed": self.seed, **self.changes, **CHANGES[method]})


def needs_network(method: str) -> bool:
    """Whether a method needs an `Engine`."""
    return method in CHANGES


def build_method(name: str, engine: Engine | None) -> Method:
    """The method called `name`.

    "ours" is the segmenter by default; "attention" leaves GrabCut out; "paper" takes the paper's weights instead
    of the overlap, and "paper-letter" the gradient through the norm as well; "all-foreground" and "centre-box" give
    every pixel, or a centred box of half the area, to the episode's first class.

    Raises:
        ConfigError: no such method, or no engine for one that needs it.
    """
    if name == "all-foreground":
        return lambda dataset, episode: np.ones(_size(dataset, episode), np.uint8)
    if name == "centre-box":
        return lambda dataset, episode: centre_box(_size(dataset, episode)).astype(np.uint8)
    if not needs_network(name):
        raise ConfigError(f"unknown method {name!r}: choose {', '.join(METHODS)}")
    if engine is None:
        raise ConfigError(f"method {name!r} needs a network: give an engine")
    return _segmenting(name, engine)


def episode_supports(dataset: SegmentationDataset, episode: Episode, *, masks: bool) -> dict[str, list[Support]]:
    """What a segmenter gets of an episode: class name -> supports, with their masks if `masks`.

    Raises:
        DataError: a support's mask lacks its class.
    """
    return {
        dataset.class_names[label - 1]: [_support(dataset, image, label, masks) for image in images]
        for label, images in episode.supports.items()
    }


def centre_box(size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool: a centred box of half the image's area and of its shape."""
    mask = np.zeros(size, bool)
    spans = [(round(side * (1 - _BOX_SIDE) / 2), round(side * _BOX_SIDE)) for side in size]
    (top, height), (left, width) = spans
    mask[top : top + height, left : left + width] = True
    return mask


def _segmenting(name: str, engine: Engine) -> Method:
    from fewshot_seg.segmenter import Segmenter

    segmenter = Segmenter(engine.embedder, engine.options(name), engine.cache)

    def method(dataset: SegmentationDataset, episode: Episode) -> NDArray[Any]:
        supports = episode_supports(dataset, episode, masks=engine.support_masks)
        return segmenter.segment(dataset.image(episode.query), supports).label_map

    return method


def _support(dataset: SegmentationDataset, image: str, label: int, with_mask: bool) -> Support:
    from fewshot_seg.segmenter import Support

    if not with_mask:
        return Support(dataset.image(image))
    mask = dataset.mask(image) == label
    if not mask.any():
        what = f"listed as {dataset.class_names[label - 1]!r}, but its mask holds none"
        raise DataError(f"{describe(dataset.image(image))}: {what}; take it off the list")
    return Support(dataset.image(image), mask)


def _size(dataset: SegmentationDataset, episode: Episode) -> tuple[int, int]:
    height, width = read_image(dataset.image(episode.query)).shape[:2]
    return height, width
