"""Files to vectors: read and decoded in threads, where a CPU's network works too, in bounded memory, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import FewShotError, describe
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.images import DRAFT_MARGIN, Preprocessing, preprocess
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval.rows import Row, content_digest, stamp_of
from fewshot_seg.retrieval.sources import Failure, Item
from fewshot_seg.streams import read_then, worker_pool


@dataclass(frozen=True, eq=False)
class Job:
    """An image that may have to go through the network.

    Attributes:
        item: the image.
        digest: of the content whose vector is known; None if none is.
        vector: (D,), that vector.
        replaces: number of the row that it takes the place of.
    """

    item: Item
    digest: str | None = None
    vector: NDArray[np.float32] | None = None
    replaces: int | None = None


@dataclass(frozen=True, eq=False)
class Encoded:
    """An image's row and its vector (D,) of unit norm; `same`: it is the vector that was known."""

    job: Job
    row: Row
    vector: NDArray[np.float32]
    same: bool


@dataclass(frozen=True, eq=False)
class _Read:
    job: Job
    row: Row
    tensor: Tensor | None  # (3, size, size); None: the vector is known


def encode(jobs: Iterable[Job], embedder: Embedder, workers: int, batch_size: int) -> Iterator[Encoded | Failure]:
    """Each job's row and vector, in order; a file that cannot be read gives a `Failure` in its place.

    Args:
        jobs: of any number, drawn lazily.
        embedder: whose vectors.
        workers: threads that read, and on a CPU run the network, each for an image of its own.
        batch_size: images that go through the network at once on a GPU; on a CPU each goes alone.
    """
    alone = embedder.device.type == "cpu"
    read, work = partial(_read, embedder.preprocessing), partial(_encode, embedder)
    with worker_pool(workers) as pool:
        yield from read_then(pool, read, work, jobs, batch_size=batch_size, workers=workers, alone=alone)


def _read(preprocessing: Preprocessing, job: Job) -> _Read | Failure:
    item = job.item
    try:
        stamp = stamp_of(item.location)  # before reading: a later change is noticed by the next update
        digest = content_digest(item.location)
        row = Row(item.path, item.root, stamp, digest, item.columns)
        if digest == job.digest:
            return _Read(job, row, None)
        image = read_image(item.location, min_side=DRAFT_MARGIN * max(preprocessing.shape))
        return _Read(job, row, preprocess(image, preprocessing))
    except FewShotError as error:
        return Failure(item.path, str(error))


@torch.inference_mode()
def _encode(embedder: Embedder, batch: list[_Read | Failure]) -> list[Encoded | Failure]:
    tensors = [one.tensor for one in batch if isinstance(one, _Read) and one.tensor is not None]
    made = iter(())  # type: Iterator[NDArray[np.float32]]
    if tensors:
        found = embedder(torch.stack(tensors).to(embedder.device)).vector  # (b, D)
        made = iter(found.float().cpu().numpy())
    results: list[Encoded | Failure] = []
    for one in batch:
        if isinstance(one, Failure):
            results.append(one)
            continue
        known = one.job.vector if one.tensor is None else None
        vector = next(made) if known is None else known
        if not np.isfinite(vector).all():
            what = f"gets a vector that is not finite from {embedder.source or 'the embedder'}; check its weights"
            results.append(Failure(one.job.item.path, f"{describe(one.job.item.path)}: {what}"))
            continue
        results.append(Encoded(one.job, one.row, vector, known is not None))
    return results
