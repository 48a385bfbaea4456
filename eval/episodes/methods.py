"""What is compared on the same episodes: the segmenter, parts of it changed in turn, and two blind baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.episodes.hints import HINTS, make_hint
from fewshot_seg.datasets import VOID, SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.plugins import METHODS as PLUGINS
from fewshot_seg.plugins import Plugin, find_plugin, plugin_names

if TYPE_CHECKING:
    from fewshot_seg.matching.features import FeatureCache
    from fewshot_seg.network.embedding import Embedder
    from fewshot_seg.prompts.hints import Query
    from fewshot_seg.segmentation.results import ObjectResult, Segmentation
    from fewshot_seg.segmentation.segmenter import SegmenterOptions, Support

_ATTENTION: Final = {"locate_by": "attention"}

CHANGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "ours": {},
    "no-grabcut": {"refine": "none"},
    "grabcut": {"refine": "grabcut"},
    "random-walk": {"refine": "random-walk"},
    "keep-all": {"keep": 0.0},
    "one-round": {"rounds": 1},
    "second-look": {"look_twice": True},
    "kind": {"meaning": "kind"},
    "thing": {"meaning": "thing"},
    "class-by-class": {},
    "presence-check": {"always": False},
    "no-presence-check": {"always": True},
    "correspondence": {"locate_by": "correspondence"},
    "attention": _ATTENTION,
    "contributions": {**_ATTENTION, "weighting": "contributions"},
    "class-evidence": {**_ATTENTION, "weighting": "class-evidence"},
    "grad-cam": {**_ATTENTION, "weighting": "grad-cam", "through_norm": True},
    "paper": {**_ATTENTION, "weighting": "paper"},
    "paper-letter": {**_ATTENTION, "weighting": "paper", "through_norm": True},
}
"""The segmenter's methods: what each changes of the default options."""

HINTED: Final[Mapping[str, tuple[str, str]]] = {
    f"{side}-{kind}": (side, kind)
    for side in ("support", "query")
    for kind in HINTS
    if (side, kind) != ("query", "mask")
}
"""Methods that are "ours" with a hint: on which side, and of which kind."""

METHODS: Final = (*CHANGES, *HINTED, "all-foreground", "centre-box")

_BOX_SIDE = math.sqrt(0.5)  # of each side: half of the area


class Prediction(NamedTuple):
    """What a method says of an episode.

    Attributes:
        labels: (H, W) label map at the query's native size: 0 background, i + 1 the episode's i-th class.
        scores: class name -> how sure it is, in [0, 1], that the query shows it; None from a method without scores.
    """

    labels: NDArray[Any]
    scores: Mapping[str, float] | None = None


Method = Callable[[SegmentationDataset, Episode], Prediction]


class HintKinds(NamedTuple):
    """Kinds of hints (`episodes.hints.HINTS`) that come with supports and with the query; None for none."""

    supports: str | None = None
    query: str | None = None


@dataclass(frozen=True, eq=False)
class Engine:
    """The network that methods run on, what it has said already, and what is told of the images.

    Attributes:
        embedder: the network.
        hints: that supports and queries come with, if the method itself doesn't say it.
        seed: of the segmenter.
        cache: for features, shared by all methods.
        changes: of the segmenter's default options, as `SegmenterOptions.from_dict` takes them.
    """

    embedder: Embedder
    hints: HintKinds = field(default_factory=HintKinds)
    seed: int = 0
    cache: FeatureCache | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def options(self, method: str) -> SegmenterOptions:
        """How the segmenter runs for a method that needs it: the defaults, `changes`, and the method's own."""
        from fewshot_seg.segmentation.segmenter import SegmenterOptions

        return SegmenterOptions.from_dict({"seed": self.seed, **self.changes, **CHANGES.get(method, {})})

    def hints_for(self, method: str) -> HintKinds:
        """The hints that a method gets; see `hints_for`."""
        return hints_for(method, self.hints)


def hints_for(method: str, hints: HintKinds) -> HintKinds:
    """The hints that a method gets in a run with these `hints`: its own, and these where it says nothing."""
    side, kind = HINTED.get(method, ("", None))
    return HintKinds(kind if side == "support" else hints.supports, kind if side == "query" else hints.query)


def hints_in(config: Mapping[str, Any], method: str) -> HintKinds:
    """The hints that a method got in the run with this config.json."""
    masks = "mask" if config.get("support_masks") else None  # so it was called before there were other hints
    return hints_for(method, HintKinds(config.get("support_hint", masks), config.get("query_hint")))


def method_names() -> tuple[str, ...]:
    """The names that `build_method` takes: ours, and other packages'."""
    return tuple(dict.fromkeys((*METHODS, *plugin_names(PLUGINS))))


def needs_network(method: str) -> bool:
    """Whether a method needs an `Engine`."""
    return method in CHANGES or method in HINTED


def build_method(name: str, engine: Engine | None) -> Method:
    """The method called `name`.

    - "ours": the segmenter by default. Parts of it switched off or changed, one by one: "no-grabcut", "grabcut"
      (alone), "random-walk" (for it), "keep-all" (every refined mask is kept, whatever its map says of it),
      "one-round", "class-by-class" (each class is cut out by itself; of masks that overlap the one with the strongest
      map wins), "presence-check" and "no-presence-check" (a class whose score is low counts as absent, or none does).
    - Other ways of locating objects, all else as in "ours": "correspondence", without training; "attention", by
      overlapping embeddings, and its other variants "contributions", "class-evidence", "grad-cam", "paper" and
      "paper-letter", which is equation 1 with the gradient through the norm.
    - "ours" with a hint (`episodes.hints.HINTS`) of each support or of the query: "support-mask", "query-box"....
    - A name of another package's (docs/plugins.md): its callable, with supports' images and masks.
    - "all-foreground" and "centre-box" give every pixel, or a centred box of half the area, to the first class.

    Raises:
        ConfigError: no such method, or no engine for one that needs it.
    """
    if name == "all-foreground":
        return lambda dataset, episode: Prediction(np.ones(_size(dataset, episode), np.uint8))
    if name == "centre-box":
        return lambda dataset, episode: Prediction(centre_box(_size(dataset, episode)).astype(np.uint8))
    if (brought := find_plugin(PLUGINS, name)) is not None and name not in METHODS:
        return brought_method(brought)
    if not needs_network(name):
        raise ConfigError(f"unknown method {name!r}: choose {', '.join(method_names())}")
    if engine is None:
        raise ConfigError(f"method {name!r} needs a network: give an engine")
    return _segmenting(name, engine)


def brought_method(plugin: Plugin) -> Method:
    """Another package's method: (query, its supports' images, their masks) -> the object's mask, class by class.

    Where the masks of several classes overlap, the first keeps the pixel. Errors name the plugin.
    """
    function = plugin.load()

    def segment(dataset: SegmentationDataset, episode: Episode) -> Prediction:
        query = read_image(dataset.image(episode.query))
        labels = np.zeros(query.shape[:2], np.int32)
        for number, (label, images) in enumerate(episode.supports.items(), start=1):
            shots = [read_image(dataset.image(image)) for image in images]
            masks = [dataset.mask(image) == label for image in images]
            mask = plugin.mask(plugin.call(function, query, shots, masks), labels.shape)
            labels[mask & (labels == 0)] = number
        return Prediction(labels)

    return segment


def episode_supports(dataset: SegmentationDataset, episode: Episode, hint: str | None) -> dict[str, list[Support]]:
    """What a segmenter gets of an episode: class name -> supports, with hints of one kind (`episodes.hints.HINTS`).

    Raises:
        DataError: a support's mask lacks its class.
    """
    return {
        dataset.class_names[label - 1]: [_support(dataset, image, label, hint) for image in images]
        for label, images in episode.supports.items()
    }


def episode_query(dataset: SegmentationDataset, episode: Episode, hint: str | None) -> Path | Query:
    """What a segmenter gets of an episode's query: hints are of the classes that it holds."""
    from fewshot_seg.prompts.hints import Query

    image = dataset.image(episode.query)
    if hint is None:
        return image
    labels = dataset.mask(episode.query)
    held = {dataset.class_names[label - 1]: labels == label for label in episode.classes}
    hints = {name: make_hint(hint, mask, labels == VOID) for name, mask in held.items() if mask.any()}
    return Query(image, hints=hints) if hints else image


def centre_box(size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool: a centred box of half the image's area and of its shape."""
    mask = np.zeros(size, bool)
    spans = [(round(side * (1 - _BOX_SIDE) / 2), round(side * _BOX_SIDE)) for side in size]
    (top, height), (left, width) = spans
    mask[top : top + height, left : left + width] = True
    return mask


def _segmenting(name: str, engine: Engine) -> Method:
    from fewshot_seg.segmentation.segmenter import Segmenter

    segmenter = Segmenter(engine.embedder, engine.options(name), engine.cache)
    hints = engine.hints_for(name)

    def segment(dataset: SegmentationDataset, episode: Episode) -> Segmentation:
        supports = episode_supports(dataset, episode, hints.supports)
        return segmenter.segment(episode_query(dataset, episode, hints.query), supports)

    def together(dataset: SegmentationDataset, episode: Episode) -> Prediction:
        found = segment(dataset, episode)
        return Prediction(found.label_map, {one.name: one.score for one in found.objects})

    def apart(dataset: SegmentationDataset, episode: Episode) -> Prediction:
        alone = [replace(episode, classes=(one,), supports={one: episode.supports[one]}) for one in episode.classes]
        found = [segment(dataset, one).objects[0] for one in alone]
        return Prediction(_pasted(found), {one.name: one.score for one in found})

    return apart if name == "class-by-class" else together


def _pasted(found: Sequence[ObjectResult]) -> NDArray[np.int32]:
    """The label map (H, W) of classes that know nothing of each other; where masks overlap the strongest map wins."""
    maps = np.stack([np.where(one.mask, one.attention, -1) for one in found])
    return np.asarray((maps.argmax(0) + 1) * (maps.max(0) >= 0), np.int32)


def _support(dataset: SegmentationDataset, image: str, label: int, hint: str | None) -> Support:
    from fewshot_seg.segmentation.segmenter import Support

    if hint is None:
        return Support(dataset.image(image))
    labels = dataset.mask(image)
    if not (labels == label).any():
        what = f"listed as {dataset.class_names[label - 1]!r}, but its mask holds none"
        raise DataError(f"{describe(dataset.image(image))}: {what}; take it off the list")
    made = make_hint(hint, labels == label, labels == VOID)
    return Support(dataset.image(image), made.mask, made.box, made.points, made.scribble)


def _size(dataset: SegmentationDataset, episode: Episode) -> tuple[int, int]:
    height, width = read_image(dataset.image(episode.query)).shape[:2]
    return height, width
