"""The frozen backbone's features of all views, made once: in memory, or in a file that is mapped into it.

FILE begins with a block of JSON (what the features are of, how many images are done), then come the layers
(T,C,h,w) and the last maps (T,C0,h0,w0) of all views, float16. A file that isn't finished is gone on with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import ConfigError, OutputError
from fewshot_seg.files import parse_json
from fewshot_seg.imaging.images import preprocess, read_image
from fewshot_seg.matching.matcher import Matcher
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.streams import ordered_map
from train_embed.matcher.gallery import Gallery
from train_embed.matcher.views import WHOLE, look, window

Track = Callable[[Iterable[int], int, str], Iterator[int]]
"""Passes items on and shows how far one is: (items, how many, what)."""

_HEAD = 4096  # bytes
_FORMAT = 1
_KEEP_EVERY = 16  # images
_LARGEST = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True)
class Store:
    """Features of T views; view v of image i is `i * views + v`.

    Attributes:
        stacked: (T,C,h,w) float16, as `Matcher.stack` gives them.
        last: (T,C0,h0,w0) float16, the last convolutional map.
        views: of each image.
    """

    stacked: NDArray[np.float16]
    last: NDArray[np.float16]
    views: int

    def __len__(self) -> int:
        """T."""
        return len(self.stacked)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w), the matcher's positions."""
        return self.stacked.shape[2], self.stacked.shape[3]

    def whole(self) -> NDArray[np.int64]:
        """The views that are whole images, in the images' order."""
        return np.arange(WHOLE, len(self), self.views)

    def get(self, index: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        """Layers (B,C,h,w) and last maps (B,C0,h0,w0) of some views, float32."""
        return torch.from_numpy(self.stacked[index]).to(device, torch.float32), self.last_of(index, device)

    def last_of(self, index: NDArray[np.int64], device: torch.device) -> Tensor:
        """Last maps (B,C0,h0,w0) of some views, float32."""
        return torch.from_numpy(self.last[index]).to(device, torch.float32)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (1,C,1,1) of each channel of the layers, over whole images, float32."""
        channels = self.stacked.shape[1]
        total, squares, count = np.zeros(channels), np.zeros(channels), 0
        for view in self.whole():
            values = self.stacked[view].astype(np.float64).reshape(channels, -1)
            total += values.sum(1)
            squares += np.square(values).sum(1)
            count += values.shape[1]
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0)) + 1e-6
        first, second = (torch.from_numpy(value.astype(np.float32))[None, :, None, None] for value in (mean, std))
        return first, second


def make_store(
    gallery: Gallery,
    embedder: Embedder,
    matcher: Matcher,
    views: int,
    weights: str,
    cache: Path | None,
    track: Track,
    workers: int = 1,
) -> Store:
    """The features of all views of a gallery; what a cache holds already is not made again.

    Args:
        gallery: the images.
        embedder: frozen.
        matcher: only its spec is used.
        views: of each image.
        weights: the digest of the embedder's.
        cache: the file; None keeps the features in memory.
        track: shows progress.
        workers: images at a time; it changes no result as long as torch has one thread.

    Raises:
        ConfigError: the file holds other features. OutputError: it can't be written. ImageError: a bad image.
    """
    shapes = _shapes(embedder, matcher, len(gallery.pictures) * views)
    if cache is None:
        arrays = [np.zeros(shape, np.float16) for shape in shapes]
        head = None
    else:
        key = {
            "format": _FORMAT,
            "backbone": embedder.spec.backbone,
            "weights_sha256": weights,
            "preprocessing": embedder.preprocessing.to_dict(),
            "layers": list(matcher.spec.layers),
            "shapes": [list(shape) for shape in shapes],
            "views": views,
            "images_sha256": gallery.digest(),
        }
        head = _Head(cache, key)
        arrays = head.map(shapes)
    store = Store(arrays[0], arrays[1], views)
    _fill(store, gallery, embedder, matcher, head, track, workers)
    return store


def _fill(
    store: Store, gallery: Gallery, embedder: Embedder, matcher: Matcher, head: _Head | None, track: Track, workers: int
) -> None:
    start = 0 if head is None else head.done
    total = len(gallery.pictures)
    if start == total:
        return

    def one(number: int) -> int:
        image = read_image(gallery.pictures[number].path)
        size = (image.shape[0], image.shape[1])
        for view in range(store.views):
            place = number * store.views + view
            pixels = look(image, window(number, view, size))
            store.stacked[place], store.last[place] = _features(pixels, embedder, matcher)
        return number

    with ThreadPoolExecutor(workers) as pool:
        done = ordered_map(pool, one, range(start, total), 2 * workers)
        for number in track(done, total - start, "features"):
            if head is not None and ((number + 1) % _KEEP_EVERY == 0 or number + 1 == total):
                head.keep(number + 1)


@torch.inference_mode()
def _features(
    pixels: NDArray[np.uint8], embedder: Embedder, matcher: Matcher
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    batch = preprocess(pixels, embedder.preprocessing)[None].to(embedder.device)
    emb, layers = embedder.with_layers(batch, tuple(matcher.spec.layers))
    stacked, last = (
        value[0].clamp(-_LARGEST, _LARGEST).half().cpu().numpy() for value in (matcher.stack(layers), emb.feature_map)
    )
    return stacked, last


def _shapes(embedder: Embedder, matcher: Matcher, count: int) -> list[tuple[int, ...]]:
    side = embedder.preprocessing.size
    stacked, last = _features(np.zeros((side, side, 3), np.uint8), embedder, matcher)
    return [(count, *stacked.shape), (count, *last.shape)]


class _Head:
    """The beginning of a cache file: what it is of, and how far it is."""

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self.path, self.key = path, dict(key)
        self.done = self._read() if path.exists() else 0

    def map(self, shapes: list[tuple[int, ...]]) -> list[NDArray[np.float16]]:
        """The file's arrays, which writing to changes the file; it is made, at its full length, if it isn't there."""
        sizes = [int(np.prod(shape)) * np.dtype(np.float16).itemsize for shape in shapes]
        try:
            if not self.path.exists():
                self._create(_HEAD + sum(sizes))
            starts = (_HEAD, _HEAD + sizes[0])
            return [
                np.memmap(self.path, np.float16, "r+", offset=start, shape=shape)
                for start, shape in zip(starts, shapes, strict=True)
            ]
        except (OSError, ValueError) as error:
            raise OutputError(f"cannot keep features in {self.path}: {error}; choose another --cache") from error

    def keep(self, done: int) -> None:
        """Notes that the first `done` images' features are there."""
        self.done = done
        text = json.dumps({"key": self.key, "done": done}).encode()
        try:
            with self.path.open("r+b") as file:
                file.write(text.ljust(_HEAD))
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _create(self, size: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.path.open("xb") as file:
                # All of it now: a disk that fills up later would kill the process that writes to the map.
                os.posix_fallocate(file.fileno(), 0, size)
            self.keep(0)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise

    def _read(self) -> int:
        try:
            with self.path.open("rb") as file:
                found = parse_json(file.read(_HEAD))
            same, done = found["key"] == self.key, int(found["done"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} is no file of features: choose another --cache, or delete it") from error
        if not same:
            raise ConfigError(
                f"{self.path} holds features of other images, views or weights: choose another --cache, or delete it"
            )
        return done
