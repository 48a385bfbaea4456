"""Which way of locating objects an embedder and its options call for."""

from __future__ import annotations

from typing import NamedTuple

from fewshot_seg.errors import ConfigError
from fewshot_seg.matching import appearance
from fewshot_seg.matching.files import class_weights, matcher_for
from fewshot_seg.matching.locators import Locator
from fewshot_seg.matching.locators.by_attention import AttentionLocator
from fewshot_seg.matching.locators.by_correspondence import CorrespondenceLocator
from fewshot_seg.matching.locators.by_matching import MatchingLocator
from fewshot_seg.matching.locators.by_meaning import MeaningLocator
from fewshot_seg.matching.matcher import Matcher
from fewshot_seg.matching.training_free import LAYERS
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.segmentation.options import SegmenterOptions


class Choice(NamedTuple):
    """A locator, and what its features must hold."""

    locator: Locator
    matcher: Matcher | None = None  # that encodes every image
    layers: tuple[str, ...] = ()  # names of earlier layers that it reads


def choose_locator(embedder: Embedder, options: SegmenterOptions) -> Choice:
    """The locator that the options name, or for "auto" the best there is for this embedder.

    Raises:
        ConfigError: matching is asked for, but no matcher was trained for this embedder's weights.
        CheckpointError: the matcher's file is bad.
    """
    choice = _choose(embedder, options)
    measured = not hasattr(embedder.trunk, "compared")  # appearance was, on layers of convolutional networks alone
    knows_things = (measured and isinstance(choice.locator, MatchingLocator)) or options.meaning == "thing"
    if options.locate_by == "attention" or not knows_things:
        return choice
    layers = tuple(dict.fromkeys((*choice.layers, *appearance.LAYERS)))
    return choice._replace(locator=MeaningLocator(choice.locator, options.meaning), layers=layers)


def _choose(embedder: Embedder, options: SegmenterOptions) -> Choice:
    if options.locate_by == "attention":
        return Choice(AttentionLocator(embedder, options.weighting, options.through_norm, options.rejection))
    matcher = None
    if options.locate_by != "correspondence":
        matcher = matcher_for(embedder, options.matcher)
    if matcher is not None:
        return Choice(MatchingLocator(matcher, class_weights(embedder, matcher), options.rounds), matcher)
    if options.locate_by == "matching":
        raise ConfigError(
            "no matcher was trained for this embedder's weights: train one (train-embed matcher), "
            "or locate by correspondence"
        )
    layers: tuple[str, ...] = getattr(embedder.trunk, "compared", LAYERS)
    return Choice(CorrespondenceLocator(embedder, options.rounds), None, layers)
