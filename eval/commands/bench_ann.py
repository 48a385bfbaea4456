"""`fewshot-eval bench ann`: approximate search beside exact search."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from eval.commands.common import COMMAND
from eval.commands.options import BenchFile, RoundsEach, VectorLength, VectorSeed
from eval.tables.table import percent
from fewshot_seg.commands.console import print_table, tracked

__all__ = ["EPILOG", "ann"]

EPILOG = """
[bold]Examples[/]

fewshot-eval bench ann --threads 2 --out bench.json

fewshot-eval bench ann --images 20000 --queries 200 --with faiss-ivfpq
"""


class FaissKind(StrEnum):
    """FAISS's kinds of index."""

    hnsw = "faiss-hnsw"
    ivfpq = "faiss-ivfpq"
    flat = "faiss-flat"


def ann(
    images: Annotated[int, typer.Option(min=2, help="Vectors that are searched.")] = 200_000,
    queries: Annotated[int, typer.Option(min=1, help="Vectors that ask; none of the others.")] = 1000,
    dim: VectorLength = 512,
    centres: Annotated[int, typer.Option(min=1, help="That the vectors lie around.")] = 2000,
    kinds: Annotated[
        list[FaissKind] | None,
        typer.Option("--with", help="May be repeated.", show_default="faiss-hnsw, faiss-ivfpq"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many nearest.")] = 10,
    rounds: RoundsEach = 5,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch and FAISS.", show_default="their own numbers")
    ] = None,
    seed: VectorSeed = 0,
    out: BenchFile = None,
) -> None:
    """FAISS's HNSW and IVF-PQ, scored exactly as in an index, beside exact search: recall and time, in turns."""
    from eval.bench.ann import FAISS_KINDS, Crowd, bench_ann
    from eval.bench.timing import write_bench
    from fewshot_seg.retrieval.accelerators import check_kind

    crowd = Crowd(images, queries, dim, centres, seed=seed)
    chosen = tuple(check_kind(one.value) for one in kinds) if kinds else FAISS_KINDS
    shows = partial(tracked, command=COMMAND)
    result = bench_ann(crowd, chosen, k=k, threads=threads, rounds=rounds, progress=shows)
    if out is not None:
        told = asdict(crowd) | {"k": k, "rounds": rounds, "threads": threads}
        found = {"recall": result.recalls, "seconds_to_make": result.seconds}
        write_bench(out, "ann", told, found, result.timings)
    recalls, seconds = ["100.0", *map(percent, result.recalls)], ["-", *(f"{one:.0f}" for one in result.seconds)]
    rows = [
        (one.variant, recall, f"{one.ratio.median:.2f} ({one.ratio.low:.2f} to {one.ratio.high:.2f})", made)
        for one, recall, made in zip(result.timings, recalls, seconds, strict=True)
    ]
    print_table(("search", f"recall at {k}", "times as fast as exact", "seconds to make"), rows, names=1)
