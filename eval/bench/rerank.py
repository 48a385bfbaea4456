"""k-reciprocal re-ranking, sparse and in chunks, beside the dense textbook form: time, memory, the same distances."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from eval.bench.crowd import Crowd
from eval.bench.dense_rerank import dense_rerank
from eval.bench.machine import in_child, peak_mib
from eval.bench.timing import How, Measured, keeping, side_by_side
from fewshot_seg.errors import ConfigError
from fewshot_seg.reid.rerank import rerank

DENSE, SPARSE = "dense textbook form", "sparse, in chunks"
APART: Final = 1e-5


@dataclass(frozen=True)
class Alone:
    """What one form took in a process of its own.

    Attributes:
        variant: which form.
        queries, gallery: of how many.
        seconds: without making the vectors.
        cpu_seconds: of the processors, of all threads together: what other work on the machine changes least.
        peak_mib: the most memory that the process had, vectors, Python and torch among it.
        before_mib: of that, what it had before.
    """

    variant: str
    queries: int
    gallery: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    before_mib: float


def bench_rerank(crowd: Crowd, dense_images: int, *, alone: bool = True, how: How = How()) -> Measured:
    """Times both forms.

    Args:
        crowd: what is re-ranked.
        dense_images: the dense form's share of it; it needs about 28 bytes for each pair of images.
        alone: whether each is run in a process of its own, too, for its memory.
        how: its threads are those of torch and numpy's libraries in the child processes.

    Returns:
        Timings of both forms on the shrunk crowd, in turns in one process, the dense form first; and
        "alone": an `Alone` each, the sparse form on the whole crowd, both forms on the shrunk one;
        "furthest": the largest difference of a distance between the two forms, both in float32, where rounding decides
        which of two nearly equal neighbours is the k-th;
        "differing": the share of distances that differ by more than 1e-5.

    Raises:
        ConfigError: fewer than 2 images for the dense form.
    """
    if dense_images < 2:
        raise ConfigError(f"{dense_images} images for the dense form: at least 2 are needed")
    small = crowd.shrunk(dense_images)
    steps = [(SPARSE, crowd), (SPARSE, small), (DENSE, small)] if alone else []
    measured = [
        in_child(_alone, name, who, how.threads) for name, who in how.track(steps, len(steps), "measuring alone")
    ]
    queries, gallery = small.vectors()
    variants, found = keeping({name: partial(_run, name, queries, gallery) for name in (DENSE, SPARSE)})
    timings = side_by_side(variants, len(queries), how.rounds, how.track)
    apart = (found[DENSE] - found[SPARSE]).abs()
    facts = {"furthest": float(apart.max()), "differing": float((apart > APART).double().mean())}
    return Measured(timings, {"alone": [asdict(one) for one in measured], **facts})


def _alone(variant: str, crowd: Crowd, threads: int | None) -> Alone:
    if threads is not None:
        torch.set_num_threads(threads)
    queries, gallery = crowd.vectors()
    before = peak_mib()
    start, cpu = time.perf_counter(), time.process_time()
    _run(variant, queries, gallery)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Alone(variant, len(queries), len(gallery), seconds, cpu, peak_mib(), before)


def _run(variant: str, queries: Tensor, gallery: Tensor) -> Tensor:
    if variant == SPARSE:
        return rerank(queries, gallery)
    return torch.from_numpy(dense_rerank(queries.numpy(), gallery.numpy()))
