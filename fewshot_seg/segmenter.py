"""The segmenter: supports are encoded once, then any number of queries are cut by them (paper, section 3.3)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, overload

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.attention import attention_maps, scale_maps, shot_weights
from fewshot_seg.embedding import Embedder, Embedding
from fewshot_seg.errors import ConfigError, FewShotError
from fewshot_seg.features import LAST, FeatureCache, FeatureExtractor, Features, Loaded, as_embedding
from fewshot_seg.images import ImageInput, describe, is_one, resize_map
from fewshot_seg.options import SegmenterOptions
from fewshot_seg.refine import grabcut, working_size
from fewshot_seg.results import ObjectResult, Segmentation
from fewshot_seg.seeds import threshold_of, trimap
from fewshot_seg.streams import in_batches, ordered_map
from fewshot_seg.supports import Support, Supports, group_supports, mask_on_map, support_mask
from fewshot_seg.upsample import upsample_mask

__all__ = ["ObjectResult", "Prepared", "Segmentation", "Segmenter", "SegmenterOptions", "Support", "Supports"]

_SUPPORT_BATCH = 8
_MOST_WORKERS = 8


@dataclass(frozen=True, eq=False)
class Prepared:
    """Supports, encoded: for each class (K,D) unit-norm embeddings of its shots, on the embedder's device.

    Embeddings mean something to the embedder that made them alone, so it is kept with them.
    """

    classes: tuple[str, ...]
    vectors: tuple[Tensor, ...] = field(repr=False)
    embedder: Embedder = field(repr=False)


class _Query(NamedTuple):
    source: str
    loaded: Loaded  # with its pixels


class _Attended(NamedTuple):
    source: str
    image: NDArray[np.uint8]  # (H,W,3)
    maps: NDArray[np.float32]  # (N,h,w), each scaled to [0, 1]
    scores: NDArray[np.float32]  # (N,)


class Segmenter:
    """Cuts the objects of support images out of other images.

    Args:
        embedder: from `load_embedder`; it is put in eval mode.
        options: None means the defaults.
        cache: keeps what the network says of queries and supports. None: every image goes through the network
            whenever it is given. Results are the same.
    """

    def __init__(
        self, embedder: Embedder, options: SegmenterOptions | None = None, cache: FeatureCache | None = None
    ) -> None:
        self.embedder = embedder.eval()
        self.options = options or SegmenterOptions()
        self._extractor = FeatureExtractor(self.embedder, cache)

    @torch.inference_mode()
    def prepare(self, supports: Supports) -> Prepared:
        """Reads and encodes the supports, once for any number of queries.

        A mask or box is used: only what it covers enters the shot's embedding.

        Args:
            supports: one example, a list of one class's, or a mapping of class names to either.

        Returns:
            The encoded supports, for this embedder.

        Raises:
            ConfigError: as `supports.group_supports`.
            ImageError, ShapeError, DataError: a support or its mask can't be read or used.
        """
        grouped = group_supports(supports)
        shots = [shot for group in grouped.values() for shot in group]
        vectors = torch.cat([self._encode_supports(batch) for batch in in_batches(shots, _SUPPORT_BATCH)])
        counts = [len(group) for group in grouped.values()]
        return Prepared(tuple(grouped), torch.split(vectors, counts), self.embedder)

    def segment(self, query: ImageInput, supports: Supports | Prepared) -> Segmentation:
        """Cuts the supports' objects out of one query.

        Args:
            query: a path, a PIL image, or an (H,W,3) uint8 RGB array.
            supports: as `prepare` takes them, or what it gave.

        Returns:
            Masks at the query's native size, scores and attention.

        Raises:
            FewShotError: as `prepare`, or ImageError for the query.
        """
        return next(self.segment_many([query], supports, batch_size=1, workers=1))

    @overload
    def segment_many(
        self,
        queries: Iterable[ImageInput] | ImageInput,
        prepared: Supports | Prepared,
        batch_size: int = ...,
        workers: int | None = ...,
        on_error: Literal["raise"] = ...,
    ) -> Iterator[Segmentation]: ...

    @overload
    def segment_many(
        self,
        queries: Iterable[ImageInput] | ImageInput,
        prepared: Supports | Prepared,
        batch_size: int = ...,
        workers: int | None = ...,
        *,
        on_error: Literal["yield"],
    ) -> Iterator[Segmentation | FewShotError]: ...

    def segment_many(
        self,
        queries: Iterable[ImageInput] | ImageInput,
        prepared: Supports | Prepared,
        batch_size: int = 4,
        workers: int | None = None,
        on_error: Literal["raise", "yield"] = "raise",
    ) -> Iterator[Segmentation | FewShotError]:
        """Cuts the objects out of any number of queries: reading, network and GrabCut overlap, memory stays flat.

        Results don't depend on the queries' order, the batch size or the number of workers.

        Args:
            queries: of any length; drawn lazily. One alone need not be in a list.
            prepared: from `prepare`, or what it takes.
            batch_size: queries that go through the network at once.
            workers: threads that read and refine; None means the option `threads`, or else the machine's
                processors, but at most 8: each holds an image.
            on_error: "raise" a query's error when its turn comes, or "yield" it in the result's place and go on.

        Yields:
            One result for each query, in order.

        Raises:
            ConfigError: batch_size or workers below 1, or supports that another embedder has prepared.
            ImageError: an unreadable query (with on_error="raise").
        """
        workers = min(self.options.threads or os.cpu_count() or 1, _MOST_WORKERS) if workers is None else workers
        if not all(type(count) is int and count >= 1 for count in (batch_size, workers)):
            raise ConfigError(f"batch_size {batch_size} and workers {workers} must be whole numbers and at least 1")
        if on_error not in ("raise", "yield"):
            raise ConfigError(f"unknown on_error {on_error!r}: choose raise or yield")
        if not isinstance(prepared, Prepared):
            prepared = self.prepare(prepared)
        if prepared.embedder is not self.embedder:
            raise ConfigError("the supports were prepared by another embedder; call this segmenter's own `prepare`")
        several: Iterable[ImageInput] = [queries] if is_one(queries) else queries  # type: ignore[list-item,assignment]
        return self._stream(several, prepared, batch_size, workers, on_error == "raise")

    def _stream(
        self, queries: Iterable[ImageInput], prepared: Prepared, batch_size: int, workers: int, strict: bool
    ) -> Iterator[Segmentation | FewShotError]:
        if self.options.threads is not None:
            cv2.setNumThreads(self.options.threads)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="segmenter")
        try:
            read = ordered_map(pool, self._read, queries, ahead=max(batch_size, workers))
            attended = (one for batch in in_batches(read, batch_size) for one in self._attend(batch, prepared))
            for result in ordered_map(pool, lambda one: self._cut(one, prepared.classes), attended, workers + 1):
                if strict and isinstance(result, FewShotError):
                    raise result
                yield result
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, query: ImageInput) -> _Query | FewShotError:
        try:
            return _Query(describe(query), self._extractor.load(query, pixels=True))
        except FewShotError as error:
            return error

    @torch.inference_mode()
    def _attend(self, batch: list[_Query | FewShotError], prepared: Prepared) -> list[_Attended | FewShotError]:
        """Attention of every readable query of a batch to every class, with one pass through the network."""
        queries = [query for query in batch if isinstance(query, _Query)]
        if not queries:
            return [error for error in batch if isinstance(error, FewShotError)]
        features = self._extractor.features([query.loaded for query in queries])
        maps, scores = self._attention(as_embedding(features), prepared.vectors)
        found = (_Attended(one.source, one.loaded.pixels, maps[i], scores[i]) for i, one in enumerate(queries))
        return [one if isinstance(one, FewShotError) else next(found) for one in batch]

    def _attention(
        self, emb: Embedding, vectors: tuple[Tensor, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Maps (B,N,h,w) in [0, 1] and scores (B,N) of B images for N classes."""
        options = self.options
        maps, scores = [], []
        for label, positives in enumerate(vectors):
            negatives = [*vectors[:label], *vectors[label + 1 :]]
            w = shot_weights(emb.vector, positives, negatives, weighting=options.weighting, rejection=options.rejection)
            attention = scale_maps(attention_maps(self.embedder, emb, w, through_norm=options.through_norm))
            attended = self.embedder.head(emb.feature_map * attention[:, None])  # (B,D)
            maps.append(attention)
            scores.append((attended @ positives.T).mean(1).clamp(0, 1))  # (B,)
        return torch.stack(maps, 1).float().cpu().numpy(), torch.stack(scores, 1).float().cpu().numpy()

    def _cut(self, query: _Attended | FewShotError, classes: tuple[str, ...]) -> Segmentation | FewShotError:
        """Seeds, refinement and the way back to native size for every class; a pixel's label by attention.

        Where the masks of several classes cover a pixel, it goes to the one with the strongest attention there.
        """
        if isinstance(query, FewShotError):
            return query
        size = query.image.shape[:2]
        labels = np.zeros(size, np.int32)
        strongest = np.zeros(size, np.float32) if len(classes) > 1 else None
        small = self._small(query.image)
        trimaps = []
        for label, attention in enumerate(query.maps, start=1):
            seeds = trimap(attention, small.shape[:2], self.options.seeds)
            mask = self._mask(query.image, small, attention, seeds)
            trimaps.append(seeds)
            if strongest is None:  # one class: nobody to compete with, and no native-size floats
                labels[mask] = label
                continue
            here = resize_map(attention, size)
            mask &= here > strongest
            labels[mask], strongest[mask] = label, here[mask]
        return Segmentation(query.source, labels, self._objects(query, labels, trimaps, classes))

    def _objects(
        self,
        query: _Attended,
        labels: NDArray[np.int32],
        trimaps: list[NDArray[np.uint8]],
        classes: tuple[str, ...],
    ) -> tuple[ObjectResult, ...]:
        present = np.bincount(labels.ravel(), minlength=len(classes) + 1) > 0
        return tuple(
            ObjectResult(
                name=name,
                score=float(query.scores[i]) if present[i + 1] else 0.0,
                attention_map=query.maps[i],
                trimap=trimaps[i],
                label=i + 1,
                label_map=labels,
            )
            for i, name in enumerate(classes)
        )

    def _small(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image at working size (h,w,3)."""
        height, width = working_size(image.shape[:2], self.options.grabcut.working_size)
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))

    def _mask(
        self,
        image: NDArray[np.uint8],
        small: NDArray[np.uint8],
        attention: NDArray[np.float32],
        seeds: NDArray[np.uint8],
    ) -> NDArray[np.bool_]:
        """One class's mask (H,W) at native size, conflicts not yet resolved."""
        if self.options.refine == "none":
            threshold = threshold_of(attention, self.options.seeds)
            return np.asarray(resize_map(attention, image.shape[:2]) >= threshold)
        return upsample_mask(grabcut(small, seeds, self.options.grabcut, self.options.seed), small, image)

    def _encode_supports(self, shots: list[Support]) -> Tensor:
        """Unit-norm embeddings (K,D) of K shots, of what their masks or boxes cover where they have one."""
        loaded = [self._extractor.load(shot.image, pixels=False) for shot in shots]
        masks = [support_mask(shot, one.size) for shot, one in zip(shots, loaded, strict=True)]
        features = self._extractor.features(loaded)
        return torch.stack([self._shot_vector(one, mask) for one, mask in zip(features, masks, strict=True)])

    def _shot_vector(self, features: Features, mask: NDArray[np.bool_] | None) -> Tensor:
        """A shot's embedding (D,). Each shot alone: its last bits, too, are its own."""
        if mask is None:
            return features.vector
        feature_map = features.maps[LAST]  # (C,h,w)
        h, w = feature_map.shape[1:]
        cover = torch.from_numpy(mask_on_map(mask, (h, w))).to(feature_map)
        seen: Tensor = self.embedder.head((feature_map * cover)[None])
        return seen[0]
