"""Labelled images as batches of tensors: for training, augmented and in a sampler's order; for measuring, as they are.

    loader = TrainingLoader(images, sampler, augment, seed=0, rank=rank, world=world, workers=2)
    for batch in loader.epoch(e, start=0):        # start: go on in the middle of an epoch
        batch.images, batch.labels                # (B,3,H,W) float32, (B,) int64

What a batch holds is a pure function of (seed, epoch, number of the batch): neither workers nor ranks nor a
start in the middle of an epoch change it, and the ranks' parts, one after the other, are the whole batch.

An image that cannot be read is replaced, in training, by the next readable one of its class, so that a batch
keeps its make-up; in measuring it is left out. Either way it is listed in `loader.unreadable`, and above
`max_unreadable` files the loader stops with a DataError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewshot_seg.datasets.labelled import LabelledImages, examples
from fewshot_seg.errors import DataError, FewShotError
from fewshot_seg.imaging.images import Preprocessing, preprocess, read_image
from train_embed.data.augment import Augment
from train_embed.data.samplers import BatchSampler, shard

MAX_UNREADABLE: Final = 20
"""Unreadable images that a loader passes over before it stops, unless told otherwise."""

_SHARE: Final = 4
"""Of a set's images one in so many may be unreadable."""

# A JPEG decoded at a reduced size is still this many times as large as the network's input.
_DRAFT_MARGIN: Final = 2


def most_unreadable(limit: int, images: int) -> int:
    """How many of a set's images may be unreadable: `limit`, and a quarter of them at most."""
    return min(limit, images // _SHARE)


@dataclass(frozen=True)
class Sample:
    """What a training image is drawn by: its augmentation is a function of these and the seed.

    `position` is the place in the epoch's order over all ranks: an image that comes up twice looks different.
    """

    epoch: int
    position: int
    index: int


@dataclass(frozen=True)
class Batch:
    """Images (B,3,H,W) float32 normalised, labels (B,) int64, and indices (B,) int64 into the data set.

    `indices` are those of the images that are really there (of the replacement for an unreadable one);
    `unreadable` tells for each file that could not be read why. In measuring B may be 0.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    unreadable: dict[str, str]

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; the data loader calls it."""
        images, labels, indices = self.images, self.labels, self.indices
        return Batch(images.pin_memory(), labels.pin_memory(), indices.pin_memory(), self.unreadable)


@dataclass(frozen=True)
class Item:
    """One image of a batch to be: `image` is None where it, and all that might replace it, is unreadable."""

    image: Tensor | None
    label: int
    index: int
    unreadable: dict[str, str]


class TrainingImages(Dataset[Item]):
    """Augmented images: `augment` takes (H,W,3) uint8 and the key (seed, epoch, position, index)."""

    def __init__(self, images: LabelledImages, augment: Augment, seed: int) -> None:
        self.images, self.augment, self.seed = images, augment, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, sample: Sample) -> Item:
        """The image of a sample, or the next readable one of its class; a pure function."""
        index = sample.index
        label = self.images.labels[index]
        members = self.images.members[label]
        first = members.index(index)
        unreadable: dict[str, str] = {}
        for candidate in members[first:] + members[:first]:
            path = self.images.paths[candidate]
            try:
                pixels = read_image(path, min_side=_DRAFT_MARGIN * max(self.augment.preprocessing.shape))
            except FewShotError as error:
                unreadable[str(path)] = str(error)
                continue
            image = self.augment(pixels, (self.seed, sample.epoch, sample.position, candidate))
            return Item(image, label, candidate, unreadable)
        return Item(None, label, index, unreadable)


class EvaluationImages(Dataset[Item]):
    """Images as the embedder takes them, stretched and normalised by `fewshot_seg.imaging.images` alone."""

    def __init__(self, images: LabelledImages, preprocessing: Preprocessing) -> None:
        self.images, self.preprocessing = images, preprocessing

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        label, path = self.images.labels[index], self.images.paths[index]
        try:
            pixels = read_image(path, min_side=_DRAFT_MARGIN * max(self.preprocessing.shape))
        except FewShotError as error:
            return Item(None, label, index, {str(path): str(error)})
        return Item(preprocess(pixels, self.preprocessing), label, index, {})


class TrainingLoader:
    """The batches of an epoch, or this rank's part of each.

    Args:
        images: files and labels.
        sampler: over `images.labels`.
        augment: what to do to an image; it also brings it to the network's size.
        seed: of the augmentations.
        rank, world: which part of each batch, of how many.
        workers: processes that read ahead; 0 reads in this one. They live as long as the loader.
        max_unreadable: so many different files may be unreadable; see `unreadable`.
        pin_memory: for faster copies to a GPU.

    Attributes:
        unreadable: file -> why it could not be read, for all batches so far (of this rank).

    Raises:
        ConfigError: the batch cannot be shared out over `world` ranks.
    """

    def __init__(
        self,
        images: LabelledImages,
        sampler: BatchSampler,
        augment: Augment,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        max_unreadable: int = MAX_UNREADABLE,
        pin_memory: bool = False,
    ) -> None:
        self._part = len(shard(range(sampler.batch_size), rank, world, sampler.unit))
        self.images, self.sampler, self.max_unreadable = images, sampler, max_unreadable
        self.unreadable: dict[str, str] = {}
        self._order = _EpochOrder(sampler, rank, world)
        data = TrainingImages(images, augment, seed)
        self._loader = _data_loader(
            data, augment.preprocessing, workers, pin_memory=pin_memory, batch_sampler=self._order
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.sampler)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `start` on.

        Raises:
            DataError: more than `max_unreadable` unreadable files, or a class none of whose images can be read.
        """
        self._order.epoch, self._order.start = epoch, start
        for batch in _watched(self._loader, self.unreadable, self.max_unreadable):
            if len(batch.indices) < self._part:
                reasons = "; ".join(list(batch.unreadable.values())[:3])
                raise DataError(f"a class has no image that can be read, so no batch can be made of it: {reasons}")
            yield batch


class EvaluationLoader:
    """All images once, in order, without the unreadable ones; see `TrainingLoader` for the arguments."""

    def __init__(
        self,
        images: LabelledImages,
        preprocessing: Preprocessing,
        *,
        batch_size: int = 32,
        workers: int = 0,
        max_unreadable: int = MAX_UNREADABLE,
    ) -> None:
        self.images, self.max_unreadable = images, max_unreadable
        self.unreadable: dict[str, str] = {}
        data = EvaluationImages(images, preprocessing)
        self._loader = _data_loader(data, preprocessing, workers, batch_size=batch_size)

    def __len__(self) -> int:
        """Batches."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """Batches in the images' order; `Batch.indices` tells which they are.

        Raises:
            DataError: more than `max_unreadable` unreadable files, or nothing readable at all.
        """
        readable = 0
        for batch in _watched(self._loader, self.unreadable, self.max_unreadable):
            readable += len(batch.indices)
            if len(batch.indices):
                yield batch
        if not readable:
            raise DataError(f"none of the {len(self.images)} images can be read: {examples(list(self.unreadable))}")


class _EpochOrder:
    """The batch sampler that torch asks for: this rank's samples of each batch of the epoch that is set."""

    def __init__(self, sampler: BatchSampler, rank: int, world: int) -> None:
        self.sampler, self.rank, self.world = sampler, rank, world
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[Sample]]:
        epoch, size = self.epoch, self.sampler.batch_size
        for number in range(self.start, len(self.sampler)):
            samples = [
                Sample(epoch, number * size + slot, index)
                for slot, index in enumerate(self.sampler.batch(epoch, number))
            ]
            places = shard(range(size), self.rank, self.world, self.sampler.unit)
            yield [samples[place] for place in places]


def _data_loader(data: Dataset[Item], preprocessing: Preprocessing, workers: int, **order: Any) -> DataLoader[Any]:
    return DataLoader(
        data,
        num_workers=workers,
        collate_fn=partial(_collate, shape=preprocessing.shape),
        worker_init_fn=_quiet_worker,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(0),  # so that iterating takes nothing from the global stream
        **order,
    )


def _collate(items: Sequence[Item], shape: tuple[int, int]) -> Batch:
    """One batch; items without an image are left out, but not their complaints."""
    unreadable = {path: reason for item in items for path, reason in item.unreadable.items()}
    there = [item for item in items if item.image is not None]
    images = [item.image for item in there if item.image is not None]
    return Batch(
        torch.stack(images) if images else torch.zeros(0, 3, *shape),
        torch.tensor([item.label for item in there], dtype=torch.long),
        torch.tensor([item.index for item in there], dtype=torch.long),
        unreadable,
    )


def _watched(loader: DataLoader[Any], unreadable: dict[str, str], limit: int) -> Iterator[Batch]:
    """The loader's batches, as long as no more than `limit` different files have been found unreadable."""
    for batch in loader:
        unreadable.update(batch.unreadable)
        if len(unreadable) > limit:
            reasons = "; ".join(list(unreadable.values())[:3])
            raise DataError(f"{len(unreadable)} images cannot be read, more than the {limit} allowed: {reasons}")
        yield batch


def _quiet_worker(_: int) -> None:
    """One thread a worker: they share the cores."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
