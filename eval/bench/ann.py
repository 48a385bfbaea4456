"""Approximate search beside exact search: time, and how many of the nearest it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor

from eval.bench.crowd import Crowd
from eval.bench.timing import How, Measured, side_by_side
from fewshot_seg.retrieval.accelerators import proposals
from fewshot_seg.retrieval.backends import EXACT, Backend, Kind, rescored
from fewshot_seg.retrieval.exact import TopK, top_k
from fewshot_seg.retrieval.vectors import Vectors

FAISS_KINDS: Final[tuple[Kind, ...]] = ("faiss-hnsw", "faiss-ivfpq")


def bench_ann(crowd: Crowd, kinds: Sequence[Kind] = FAISS_KINDS, *, k: int = 10, how: How = How()) -> Measured:
    """Make each backend once, then search for the same `k` nearest by each in turns, scores summed as in an index.

    Returns:
        Timings, exact search first; and of each backend "recall", the share of the k nearest that it finds, and
        "seconds_to_make".

    Raises:
        ConfigError: FAISS isn't installed, or there are too few vectors.
    """
    from fewshot_seg.retrieval.backends.faiss_files import FaissBackend, build_faiss

    if how.threads is not None:
        torch.set_num_threads(how.threads)
    queries, gallery = crowd.vectors()
    vectors = Vectors(gallery.numpy())
    variants: dict[str, Callable[[], TopK]] = {EXACT: partial(top_k, queries, gallery, k)}
    seconds = []
    for kind in kinds:
        start = time.perf_counter()
        backend = FaissBackend(build_faiss(kind, vectors, how.track, how.threads))
        seconds.append(time.perf_counter() - start)
        variants[kind] = partial(_search, backend, queries, vectors, k)
    truth = variants[EXACT]().rows
    found = [variants[kind]().rows for kind in kinds]
    recalls = [float((rows[:, :, None] == truth[:, None, :]).any(1).float().mean()) for rows in found]  # of (Q,k)
    timings = side_by_side(variants, crowd.queries, how.rounds, how.track)
    return Measured(timings, {"recall": recalls, "seconds_to_make": seconds})


def _search(backend: Backend, queries: Tensor, vectors: Vectors, k: int) -> TopK:
    return rescored(queries, vectors, proposals(backend, queries.numpy(), k, len(vectors)), k)
