"""What training and validation stand on: images, a frozen backbone, its features of them, and their labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import ConfigError
from fewshot_seg.matching.files import backbone_digest, class_weights
from fewshot_seg.matching.matcher import Matcher, MatcherSpec
from fewshot_seg.matching.rounds import View
from fewshot_seg.network.embedding import Embedder, load_embedder
from train_embed.matcher.gallery import Gallery, fold_names
from train_embed.matcher.options import MatcherTraining
from train_embed.matcher.store import Store, Track, make_store
from train_embed.matcher.views import look, shrink, window
from train_embed.run.setup import seeded

FINER: Final = 4
"""Labels are kept at this many times the matcher's grid a side; losses take every other one."""

_COARSEST: Final = 16  # pixels between the grid's positions
_FINEST: Final = 8  # of the layers that are read
_MOST_BLOCKS: Final = 64
_MOST_WORKERS: Final = 4  # images at a time


@dataclass(frozen=True)
class TrainingData:
    """What a matcher is trained and validated on: features and labels of all views.

    Attributes:
        gallery: the images.
        embedder: frozen.
        matcher: untrained, with the features' mean and spread.
        store: the features.
        labels: (T,H,W) int16 of all views, `FINER` times as fine as the grid.
        sizes: (N,) pixels of each image.
        held: labels (1-based) that are held out.
        weights: the digest of the backbone's.
    """

    gallery: Gallery
    embedder: Embedder
    matcher: Matcher
    store: Store
    labels: NDArray[np.int16]
    sizes: NDArray[np.int64]
    held: frozenset[int]
    weights: str

    @property
    def classifier(self) -> Tensor:
        """(L,C), as `files.class_weights` has it."""
        return class_weights(self.embedder, self.matcher)

    def views(self, matcher: Matcher, index: NDArray[np.int64]) -> View:
        """What a matcher makes of some views."""
        stacked, last = self.store.get(index, self.embedder.device)
        return View(last, matcher.encode(stacked))


def prepare(options: MatcherTraining, cache: Path | None, track: Track) -> TrainingData:
    """Opens the data, makes the features, in a file `cache` or in memory, and reads the labels; `track` shows progress.

    Raises:
        ConfigError, DataError, ImageError, CheckpointError, OutputError: see `open_dataset`, `load_embedder` and
            `make_store`.
    """
    gallery = Gallery(options.sources)
    embedder = load_embedder(options.weights, options.device)
    weights = backbone_digest(embedder)
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    with seeded(options.seed, 1, embedder.device):  # one thread: the same features for all trainings
        matcher = Matcher(spec_for(embedder, kinds=len(gallery.names)))
        store = make_store(gallery, embedder, matcher, options.views, weights, cache, track, workers)
    matcher.mean, matcher.std = store.statistics()
    labels, sizes = _labels(gallery, store, track)
    held = gallery.numbers(fold_names(options.hold_out))
    return TrainingData(gallery, embedder, matcher.to(embedder.device), store, labels, sizes, held, weights)


def spec_for(embedder: Embedder, kinds: int = 0) -> MatcherSpec:
    """A matcher of `kinds` kinds of things, over all layers of the trunk from stride 8 on, on the grid of stride 16.

    Of a network of patches, whose layers are all of one size, over the two that correspondence reads.

    Raises:
        ConfigError: the trunk has no such layers.
    """
    name, side = embedder.spec.backbone, embedder.preprocessing.size
    numbers = getattr(embedder.trunk, "compared", [f"blocks.{number}" for number in range(_MOST_BLOCKS)])
    with torch.inference_mode():
        emb, layers = embedder.with_layers(torch.zeros(1, 3, side, side), numbers)
    read = {key: layer.shape[1] for key, layer in layers.items() if layer.shape[2] <= side // _FINEST}
    grids = [key for key in read if layers[key].shape[2] >= side // _COARSEST]
    if not grids:
        raise ConfigError(f"{name} gives no layers to read: train over an EfficientNet or a network of patches")
    return MatcherSpec(name, read, grids[-1], emb.feature_map.shape[1], kinds=kinds)


def _labels(gallery: Gallery, store: Store, track: Track) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """The labels of all views, and each image's number of pixels."""
    fine = FINER * store.grid[0], FINER * store.grid[1]
    labels = np.zeros((len(store), *fine), np.int16)
    count = len(gallery.pictures)
    sizes = np.zeros(count, np.int64)
    for number in track(range(count), count, "labels"):
        whole = gallery.labels(number)
        size = (whole.shape[0], whole.shape[1])
        sizes[number] = whole.size
        for view in range(store.views):
            labels[number * store.views + view] = shrink(look(whole, window(number, view, size)), fine)
    return labels, sizes
