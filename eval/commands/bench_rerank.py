"""`fewshot-eval bench rerank`: k-reciprocal re-ranking beside its textbook form."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from eval.commands.common import COMMAND
from eval.commands.options import AloneToo, AskingVectors, BenchFile, RoundsInTurns, VectorLength, VectorSeed
from eval.tables.table import percent
from fewshot_seg.commands.console import print_table, tracked

if TYPE_CHECKING:
    from eval.bench.rerank import RerankBench

__all__ = ["EPILOG", "rerank"]

EPILOG = """
[bold]Examples[/]

fewshot-eval bench rerank --threads 2 --out bench.json

fewshot-eval bench rerank --queries 500 --gallery 2000 --dim 512 --people 100 --dense-images 2000
"""


def rerank(
    queries: AskingVectors = 3368,
    gallery: Annotated[int, typer.Option(min=1, help="Vectors that are ranked.")] = 15913,
    dim: VectorLength = 2048,
    people: Annotated[int, typer.Option(min=1, help="Centres that the vectors lie around.")] = 750,
    dense_images: Annotated[
        int, typer.Option(min=2, help="Vectors for the dense form, which needs 28 bytes for each pair of them.")
    ] = 6000,
    memory: AloneToo = True,
    rounds: RoundsInTurns = 3,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch, where time and memory are measured.", show_default="torch's")
    ] = None,
    seed: VectorSeed = 0,
    out: BenchFile = None,
) -> None:
    """k-reciprocal re-ranking, sparse and in chunks, beside the dense textbook form: time and memory.

    Vectors are random around random centres; the numbers that stand here are Market-1501's. The sparse form ranks
    them all, in a process of its own; both forms rank a part, each in a process of its own for its memory, and in
    turns in one process for their time.
    """
    from eval.bench.rerank import Crowd, bench_rerank
    from eval.bench.timing import write_bench

    crowd = Crowd(queries, gallery, dim, people, seed)
    shows = partial(tracked, command=COMMAND)
    result = bench_rerank(crowd, dense_images, alone=memory, threads=threads, rounds=rounds, progress=shows)
    if out is not None:
        told = asdict(crowd) | {"dense_images": dense_images, "rounds": rounds, "threads": threads}
        found = {
            "alone": [asdict(one) for one in result.alone],
            "furthest": result.furthest,
            "differing": result.differing,
        }
        write_bench(out, "rerank", told, found, result.timings)
    _report(result)


def _report(result: RerankBench) -> None:
    rows = [
        (
            one.variant,
            f"{one.queries}",
            f"{one.gallery}",
            f"{one.seconds:.1f}",
            f"{one.cpu_seconds:.1f}",
            f"{one.peak_mib:.0f}",
        )
        for one in result.alone
    ]
    if rows:
        print_table(("alone in a process", "queries", "gallery", "seconds", "of CPU", "peak MiB"), rows, names=1)
    ratio = result.timings[1].ratio
    typer.echo(f"in turns: {ratio.median:.1f} times as fast ({ratio.low:.1f} to {ratio.high:.1f})")
    typer.echo(
        f"distances that differ by more than 1e-5: {percent(result.differing)} %, at most by {result.furthest:.1e}"
    )
