"""Exact search, `retrieval.exact.top_k` beside faiss's flat index: time, memory, the same neighbours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from eval.bench.crowd import Crowd
from eval.bench.machine import in_child, peak_mib
from eval.bench.timing import How, Measured, keeping, side_by_side
from fewshot_seg.errors import ConfigError
from fewshot_seg.retrieval.exact import top_k

FAISS, OURS = "faiss IndexFlatIP", "fewshot_seg.retrieval"


def bench_search(crowd: Crowd, *, k: int = 100, memory: bool = True, how: How = How()) -> Measured:
    """Times both searches, of which faiss's doesn't count the making of its index.

    Args:
        crowd: what is searched.
        k: how many neighbours each query gets.
        memory: whether each runs in a process of its own, too, for its memory.
        how: its threads are those of torch and faiss; None is torch's own choice.

    Returns:
        Timings, both in turns in one process, faiss first; and
        "over_mib": variant -> the most memory that it took beyond what was there with the vectors made, in a process of
        its own (that of faiss holds its own copy of the vectors);
        "same": share of places with the same neighbour;
        "furthest": the largest difference between two scores at a place;
        "vectors_mib"; and "threads", of both.

    Raises:
        ConfigError: faiss isn't installed.
    """
    if find_spec("faiss") is None:
        raise ConfigError("faiss is not installed, which search is compared with: pip install 'fewshot-seg[faiss]'")
    threads = how.threads or torch.get_num_threads()
    names = (FAISS, OURS) if memory else ()
    over = {
        name: in_child(_over_mib, name, crowd, k, threads) for name in how.track(names, len(names), "measuring memory")
    }
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        queries, gallery = crowd.vectors()
        searches = {FAISS: _faiss(gallery, threads), OURS: _ours(gallery)}
        variants, found = keeping({name: partial(search, queries, k) for name, search in searches.items()})
        timings = side_by_side(variants, crowd.queries, how.rounds, how.track)
    finally:
        torch.set_num_threads(before)
    (scores, rows), (our_scores, our_rows) = found[FAISS], found[OURS]
    facts = {
        "over_mib": over,
        "same": float((rows == our_rows).double().mean()),
        "furthest": float((scores - our_scores).abs().max()),
        "vectors_mib": crowd.mib,
        "threads": threads,
    }
    return Measured(timings, facts)


Search = Callable[["Tensor", int], tuple["Tensor", "Tensor"]]
"""Queries (Q,D) and k to scores and rows (Q,k)."""


def _ours(gallery: Tensor) -> Search:
    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        found = top_k(queries, gallery, k)
        return found.scores, found.rows

    return search


def _faiss(gallery: Tensor, threads: int) -> Search:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery.numpy())

    def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        scores, rows = index.search(queries.numpy(), k)
        return torch.from_numpy(scores), torch.from_numpy(rows)

    return search


def _over_mib(name: str, crowd: Crowd, k: int, threads: int) -> float:
    """The peak beyond the memory with vectors made, in this process."""
    torch.set_num_threads(threads)
    queries, gallery = crowd.vectors()
    top_k(queries[:8], gallery[:64], 2)  # what torch loads on first use is no part of a search
    before = peak_mib()
    search = _faiss(gallery, threads) if name == FAISS else _ours(gallery)
    search(queries, k)
    return peak_mib() - before
