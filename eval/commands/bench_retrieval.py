"""`fewshot-eval bench retrieval`: exact search beside faiss."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from eval.commands.common import COMMAND
from eval.commands.options import AloneToo, AskingVectors, BenchFile, RoundsInTurns, VectorLength, VectorSeed
from fewshot_seg.commands.console import print_table, tracked

if TYPE_CHECKING:
    from eval.bench.search import SearchBench
    from eval.bench.timing import Timing

__all__ = ["EPILOG", "retrieval"]

EPILOG = """
[bold]Examples[/]

fewshot-eval bench retrieval --threads 2 --out bench.json

fewshot-eval bench retrieval --size 200000 --dim 128 --queries 200
"""


def retrieval(
    size: Annotated[int, typer.Option(min=1, help="Vectors of the gallery.")] = 1_000_000,
    dim: VectorLength = 512,
    queries: AskingVectors = 1000,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours of each.")] = 100,
    memory: AloneToo = True,
    rounds: RoundsInTurns = 5,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch and faiss.", show_default="torch's choice")
    ] = None,
    seed: VectorSeed = 0,
    out: BenchFile = None,
) -> None:
    """Exact search in chunks beside faiss's flat index: time, memory over the vectors, the same neighbours.

    Vectors are random, of unit norm. Both search them in turns in one process, for their time, and each in a process of
    its own, for its memory. Needs the extra faiss.
    """
    from eval.bench.search import Sizes, bench_search
    from eval.bench.timing import write_bench

    sizes = Sizes(size, dim, queries, k, seed)
    shows = partial(tracked, command=COMMAND)
    result = bench_search(sizes, memory=memory, threads=threads, rounds=rounds, progress=shows)
    if out is not None:
        told = {**asdict(sizes), "rounds": rounds, "threads": result.threads}
        found = {"over_mib": result.over_mib, "same": result.same, "furthest": result.furthest}
        write_bench(out, "retrieval", told, {**found, "vectors_mib": sizes.mib}, result.timings)
    rows = [_row(one, result) for one in result.timings]
    print_table(("search", "seconds", "queries a second", "times as fast", "MiB over the vectors"), rows, names=1)
    typer.echo(
        f"{queries:,} queries in {size:,} x {dim} ({sizes.mib:,.0f} MiB), k {k}, {result.threads} threads; "
        f"the same neighbour at {100 * result.same:.3f} % of places, scores within {result.furthest:.1e}"
    )


def _row(one: Timing, result: SearchBench) -> tuple[str, ...]:
    seconds = sorted(one.seconds)
    over = result.over_mib.get(one.variant)
    return (
        one.variant,
        f"{seconds[len(seconds) // 2]:.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})",
        f"{one.rate.median:.1f}",
        f"{one.ratio.median:.2f} ({one.ratio.low:.2f} to {one.ratio.high:.2f})",
        "-" if over is None else f"{over:,.0f}",
    )
