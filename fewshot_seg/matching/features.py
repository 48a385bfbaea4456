"""What the network says of one image, and a cache of it: the one way from images to features.

Queries and supports go through the same steps, so an image has the same features wherever it stands.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import PATH_TYPES, ConfigError
from fewshot_seg.imaging.images import ImageInput, preprocess, read_image
from fewshot_seg.matching.matcher import Encoded, Matcher
from fewshot_seg.network.embedding import Embedder, Embedding

LAST: Final = "last"
"""The name of A, the last convolutional map."""


@dataclass(frozen=True, eq=False)
class Features:
    """One image's features, on the embedder's device."""

    maps: Mapping[str, Tensor] = field(repr=False)  # a layer's name -> its map (C,h,w); `LAST` is always there
    vector: Tensor = field(repr=False)  # f (D,), unit norm
    size: tuple[int, int]  # (H, W), the image's native size
    encoded: Encoded | None = field(default=None, repr=False)  # by the matcher, if there is one; without the batch

    @property
    def nbytes(self) -> int:
        """What the tensors take, in bytes."""
        own: int = sum(tensor.nbytes for tensor in (self.vector, *self.maps.values(), *(self.encoded or ())))
        return own


class Loaded(NamedTuple):
    """An image that is ready for the network, or whose features are known."""

    size: tuple[int, int]  # (H, W), its native size
    image: NDArray[np.uint8] | None  # (H, W, 3) RGB, where it was asked for
    tensor: Tensor | None  # (3, size, size), as the network takes it; None where the features are known
    features: Features | None  # where they are known
    key: Hashable | None  # what the cache knows it by

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """`image`, which was asked for."""
        assert self.image is not None
        return self.image


class FeatureCache:
    """Features by key, up to a number of bytes; what was used longest ago goes first. Threads may share it.

    An image counts as the same while its file has the same path, size and time of change (to the nanosecond),
    or, where it is no file, the same pixels. Entries belong to the embedder that made them. After its weights
    were changed in place, call `clear`.

    Args:
        limit_bytes: what is kept never takes more. 0 keeps nothing; threads that want the same image at the
            same time still share one pass.

    Raises:
        ConfigError: the limit isn't a whole number from 0 up.
    """

    def __init__(self, limit_bytes: int) -> None:
        if type(limit_bytes) is not int or limit_bytes < 0:
            raise ConfigError(f"cache limit {limit_bytes!r}: must be a whole number of bytes, 0 or more")
        self.limit_bytes = limit_bytes
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, Features] = OrderedDict()
        self._making: dict[Hashable, Future[Features]] = {}
        self._nbytes = 0
        self._made = 0

    def __len__(self) -> int:
        """How many images' features are kept."""
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """What the kept features take, in bytes; at most `limit_bytes`."""
        return self._nbytes

    @property
    def made(self) -> int:
        """How often features had to be made: passes through the network."""
        return self._made

    def get(self, key: Hashable) -> Features | None:
        """The features kept under `key`, if any."""
        with self._lock:
            return self._use(key)

    def get_or_make(self, key: Hashable, make: Callable[[], Features]) -> Features:
        """The features kept under `key`, or else what `make` gives, which is kept.

        Of several threads that ask for the same key at once, one calls `make` and the others wait for it; an
        exception of `make` reaches them all, and nothing is kept.
        """
        with self._lock:
            if (found := self._use(key)) is not None:
                return found
            waiting = self._making.get(key)
            if waiting is None:
                mine = self._making[key] = Future[Features]()
                self._made += 1
        if waiting is not None:
            return waiting.result()
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            mine.set_exception(error)
            raise
        with self._lock:  # at once: nobody may find the key neither kept nor under way
            del self._making[key]
            self._keep(key, made)
        mine.set_result(made)
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._nbytes = 0

    def _use(self, key: Hashable) -> Features | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def _keep(self, key: Hashable, features: Features) -> None:
        if features.nbytes > self.limit_bytes:
            return
        self._entries[key] = features
        self._nbytes += features.nbytes
        while self._nbytes > self.limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._nbytes -= oldest.nbytes


class FeatureExtractor:
    """Images to features, by way of a cache if there is one.

    With a cache each image goes through the network alone, so that its features don't depend, on any device,
    on what was asked for together with it. On the CPU they never do (see `Embedder.forward`).

    Args:
        embedder: whose features.
        cache: None keeps nothing.
        matcher: encodes each image, too; None doesn't.
        layers: names of earlier layers to be kept.
    """

    def __init__(
        self,
        embedder: Embedder,
        cache: FeatureCache | None = None,
        matcher: Matcher | None = None,
        layers: Sequence[str] = (),
    ) -> None:
        self.embedder = embedder
        self.cache = cache
        self.matcher = None if matcher is None else matcher.eval()
        self.layers = tuple(layers)

    def load(self, source: ImageInput, pixels: bool) -> Loaded:
        """Reads and prepares an image as far as it needs it, with its pixels if they are wanted; runs no network.

        Raises:
            ImageError, ShapeError: as `images.read_image`.
        """
        key = None if self.cache is None else _file_key(source)  # before reading: a later change is a new key
        known = self._known(key)
        if known is not None and not pixels:
            return Loaded(known.size, None, None, known, self._owned(key))
        image = read_image(source)
        if self.cache is not None and key is None:
            key = _pixels_key(image)
            known = self._known(key)
        tensor = preprocess(image, self.embedder.preprocessing) if known is None else None
        size = (image.shape[0], image.shape[1])
        return Loaded(size, image if pixels else None, tensor, known, self._owned(key))

    @torch.inference_mode()
    def features(self, loaded: Sequence[Loaded]) -> list[Features]:
        """The features of images that were loaded, in order, with one pass where there is no cache."""
        if (cache := self.cache) is None:
            return self._encode(loaded)

        def cached(one: Loaded) -> Features:
            return one.features or cache.get_or_make(one.key, lambda: self._encode([one])[0])

        return [cached(one) for one in loaded]

    def _encode(self, loaded: Sequence[Loaded]) -> list[Features]:
        batch = torch.stack([one.tensor for one in loaded if one.tensor is not None])
        wanted = dict.fromkeys((*self.layers, *(self.matcher.spec.layers if self.matcher is not None else ())))
        emb, layers = self.embedder.with_layers(batch.to(self.embedder.device), wanted)
        found = []
        for place, one in enumerate(loaded):
            encoded = self._encoded({name: layer[place] for name, layer in layers.items()})
            # Copies: a view would keep the whole batch alive. One layout, whatever the network's was.
            kept = {LAST: emb.feature_map, **{name: layers[name] for name in self.layers if name in layers}}
            maps = {name: layer[place].clone(memory_format=torch.contiguous_format) for name, layer in kept.items()}
            found.append(Features(maps, emb.vector[place].clone(), one.size, encoded))
        return found

    def _encoded(self, layers: Mapping[str, Tensor]) -> Encoded | None:
        """One image alone, so that its bits don't depend on the batch."""
        if self.matcher is None:
            return None
        parts = self.matcher.encode(self.matcher.stack({name: layer[None] for name, layer in layers.items()}))
        return Encoded(*(part[0] for part in parts))

    def _known(self, key: Hashable | None) -> Features | None:
        return None if self.cache is None or key is None else self.cache.get(self._owned(key))

    def _owned(self, key: Hashable | None) -> Hashable:
        """The key together with everything else that features depend on."""
        embedder = self.embedder
        runs = str(embedder.device), str(embedder.dtype), embedder.precision, embedder.preprocessing
        return embedder, runs, self.matcher, self.layers, key


def as_embedding(features: Sequence[Features]) -> Embedding:
    """The features of B images as the embedder gives them: A (B,C,h,w), the last map, and f (B,D)."""
    maps = torch.stack([one.maps[LAST] for one in features])
    return Embedding(maps, torch.stack([one.vector for one in features]))


def _file_key(source: ImageInput) -> Hashable | None:
    """A file's path, size and time of change; None for what is no file, which reading it says in full."""
    if not isinstance(source, PATH_TYPES):
        return None
    try:
        path = os.path.realpath(source)
        status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no text
    except (OSError, ValueError):
        return None
    return path, status.st_size, status.st_mtime_ns


def _pixels_key(image: NDArray[np.uint8]) -> Hashable:
    return image.shape, hashlib.sha256(np.ascontiguousarray(image).data).digest()
