"""Exact search, `retrieval.exact.top_k` beside faiss's flat index: time, memory, the same neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from eval.bench.crowd import Crowd
from eval.bench.memory import in_child, peak_mib
from eval.bench.timing import Progress, Timing, side_by_side
from fewshot_seg.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

FAISS, OURS = "faiss IndexFlatIP", "fewshot_seg.retrieval"

Search = Callable[["Tensor", int], tuple["Tensor", "Tensor"]]
"""Queries (Q,D) and k to scores and rows (Q,k)."""


@dataclass(frozen=True)
class SearchBench:
    """What was found.

    Attributes:
        timings: both in turns in one process; ratios are to faiss.
        over_mib: variant -> the most memory that it took beyond what was there with the vectors made, in a process of
            its own. That of faiss holds its own copy of the vectors.
        same: share of places with the same neighbour.
        furthest: the largest difference between two scores at a place.
        threads: of both.
    """

    timings: list[Timing]
    over_mib: dict[str, float]
    same: float
    furthest: float
    threads: int


def bench_search(
    crowd: Crowd,
    *,
    k: int = 100,
    memory: bool = True,
    threads: int | None = None,
    rounds: int = 5,
    progress: Progress | None = None,
) -> SearchBench:
    """Times both searches, of which faiss's doesn't count the making of its index.

    Args:
        crowd: what is searched.
        k: how many neighbours each query gets.
        memory: whether each runs in a process of its own, too, for its memory.
        threads: of torch and faiss; None is torch's own choice.
        rounds: how often both are timed in turns.
        progress: shows it.

    Raises:
        ConfigError: faiss isn't installed.
    """
    if find_spec("faiss") is None:
        raise ConfigError("faiss is not installed, which search is compared with: pip install 'fewshot-seg[faiss]'")
    import torch

    threads = threads or torch.get_num_threads()
    names = (FAISS, OURS) if memory else ()
    shown = progress(names, len(names), "measuring memory") if progress else names
    over = {name: in_child(_over_mib, name, crowd, k, threads) for name in shown}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        queries, gallery = crowd.vectors()
        searches: dict[str, Search] = {FAISS: _Faiss(gallery, threads), OURS: _Ours(gallery)}
        found: dict[str, tuple[Tensor, Tensor]] = {}

        def run(name: str) -> None:
            found[name] = searches[name](queries, k)

        variants = {name: lambda name=name: run(name) for name in searches}
        timings = side_by_side(variants, crowd.queries, rounds, progress)
    finally:
        torch.set_num_threads(before)
    (scores, rows), (our_scores, our_rows) = found[FAISS], found[OURS]
    same = float((rows == our_rows).double().mean())
    return SearchBench(timings, over, same, float((scores - our_scores).abs().max()), threads)


class _Ours:
    def __init__(self, gallery: Tensor) -> None:
        self._gallery = gallery

    def __call__(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        from fewshot_seg.retrieval.exact import top_k

        found = top_k(queries, self._gallery, k)
        return found.scores, found.rows


class _Faiss:
    def __init__(self, gallery: Tensor, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self._index: Any = faiss.IndexFlatIP(gallery.shape[1])
        self._index.add(gallery.numpy())

    def __call__(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        import torch

        scores, rows = self._index.search(queries.numpy(), k)
        return torch.from_numpy(scores), torch.from_numpy(rows)


def _over_mib(name: str, crowd: Crowd, k: int, threads: int) -> float:
    """The peak beyond the memory with vectors made, in this process."""
    import torch

    from fewshot_seg.retrieval.exact import top_k

    torch.set_num_threads(threads)
    queries, gallery = crowd.vectors()
    top_k(queries[:8], gallery[:64], 2)  # what torch loads on first use is no part of a search
    before = peak_mib()
    search: Search = _Faiss(gallery, threads) if name == FAISS else _Ours(gallery)
    search(queries, k)
    return peak_mib() - before
