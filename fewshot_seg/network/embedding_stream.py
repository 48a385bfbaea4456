"""Any number of images to their vectors: reading overlaps with the network, memory stays flat."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import overload

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, FewShotError
from fewshot_seg.imaging.images import ImageInput, load_batch
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.streams import read_then, worker_pool


@overload
def embed_stream(
    embedder: Embedder, images: Iterable[ImageInput], batch_size: int = ..., workers: int | None = ...
) -> Iterator[Tensor]: ...
@overload
def embed_stream(
    embedder: Embedder, images: Iterable[ImageInput], batch_size: int = ..., workers: int | None = ..., *, on_error: str
) -> Iterator[Tensor | FewShotError]: ...
def embed_stream(
    embedder: Embedder,
    images: Iterable[ImageInput],
    batch_size: int = 8,
    workers: int | None = None,
    on_error: str = "raise",
) -> Iterator[Tensor | FewShotError]:
    """The vector of each image, in order; neither the batch size nor the number of workers changes one.

    Args:
        embedder: whose vectors; put it in eval mode.
        images: as `images.read_image` takes them, of any number; drawn lazily.
        batch_size: images that go through the network at once on a GPU; on a CPU each goes alone.
        workers: threads that read, and on a CPU run the network, each for an image of its own; None means the
            machine's processors, but at most 8.
        on_error: "raise" an image's error when its turn comes, or "yield" it in the vector's place and go on.

    Yields:
        f (D,), unit norm, on the CPU.

    Raises:
        ConfigError: batch_size or workers below 1, or another on_error.
        ImageError, ShapeError: an image that can't be read (with on_error="raise").
    """
    workers = min(os.cpu_count() or 1, 8) if workers is None else workers
    if min(batch_size, workers) < 1 or on_error not in ("raise", "yield"):
        raise ConfigError(f"batch_size {batch_size}, workers {workers}, on_error {on_error!r}: not such values")
    return _stream(embedder, images, batch_size, workers, strict=on_error == "raise")


def _stream(
    embedder: Embedder, images: Iterable[ImageInput], batch_size: int, workers: int, strict: bool
) -> Iterator[Tensor | FewShotError]:
    def read(image: ImageInput) -> Tensor | FewShotError:
        try:
            return load_batch([image], embedder)
        except FewShotError as error:
            return error

    alone, work = embedder.device.type == "cpu", partial(_vectors, embedder)
    with worker_pool(workers) as pool:
        for one in read_then(pool, read, work, images, batch_size=batch_size, workers=workers, alone=alone):
            if strict and isinstance(one, FewShotError):
                raise one
            yield one


@torch.inference_mode()
def _vectors(embedder: Embedder, batch: list[Tensor | FewShotError]) -> list[Tensor | FewShotError]:
    """A batch's vectors on the CPU, errors in their places."""
    images = [one for one in batch if isinstance(one, Tensor)]
    made = iter(embedder(torch.cat(images)).vector.cpu() if images else ())
    return [next(made) if isinstance(one, Tensor) else one for one in batch]
