"""`fewshot-eval bench ann`, `rerank` and `retrieval`: ways of searching random vectors, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eval.commands.common import track
from eval.commands.options import BenchFile, RoundsEach
from eval.commands.table_files import refuse_file
from eval.tables.table import percent
from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

if TYPE_CHECKING:
    from eval.bench.timing import How, Measured

ANN_EPILOG = examples(
    "fewshot-eval bench ann --threads 2 --out bench.json",
    "fewshot-eval bench ann --images 20000 --queries 200 --with faiss-ivfpq",
)

RERANK_EPILOG = examples(
    "fewshot-eval bench rerank --threads 2 --out bench.json",
    "fewshot-eval bench rerank --queries 500 --gallery 2000 --dim 512 --people 100 --dense-images 2000",
)

RETRIEVAL_EPILOG = examples(
    "fewshot-eval bench retrieval --threads 2 --out bench.json",
    "fewshot-eval bench retrieval --size 200000 --dim 128 --queries 200",
)

Dim = Annotated[int, typer.Option(min=1, help="Numbers of a vector.")]
Queries = Annotated[int, typer.Option(min=1, help="Vectors that ask; none of the others.")]
FaissKind = StrEnum("FaissKind", ["faiss-hnsw", "faiss-ivfpq", "faiss-flat"])
AloneToo = Annotated[bool, typer.Option("--memory/--no-memory", help="Whether each runs in a process of its own, too.")]


@dataclass(frozen=True)
class Measuring:
    """How it is timed, and where the figures go."""

    rounds: RoundsEach = 5
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch and FAISS.", show_default="their own numbers")
    ] = None
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the vectors.")] = 0
    out: BenchFile = None

    def __post_init__(self) -> None:
        refuse_file(self.out)

    def how(self) -> How:
        """What a bench's function is told."""
        from eval.bench.timing import How

        return How(self.rounds, self.threads, track)

    def write(self, name: str, settings: Mapping[str, Any], found: Measured) -> None:
        """bench.json, if it is wanted."""
        from eval.bench.timing import write_bench

        if self.out is not None:
            how = {"threads": self.threads, "rounds": self.rounds}
            write_bench(self.out, name, {**how, **settings}, found.facts, found.timings)


@grouped
def ann(
    measuring: Measuring,
    images: Annotated[int, typer.Option(min=2, help="Vectors that are searched.")] = 200_000,
    queries: Queries = 1000,
    dim: Dim = 512,
    centres: Annotated[int, typer.Option(min=1, help="That the vectors lie around.")] = 2000,
    kinds: Annotated[
        list[FaissKind] | None,
        typer.Option("--with", help="May be repeated.", show_default="faiss-hnsw, faiss-ivfpq"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many nearest.")] = 10,
) -> None:
    """FAISS's HNSW and IVF-PQ, scored exactly as in an index, beside exact search: recall and time, in turns."""
    from eval.bench.ann import FAISS_KINDS, bench_ann
    from eval.bench.crowd import Crowd
    from fewshot_seg.retrieval.accelerators import check_kind

    crowd = Crowd(images, queries, dim, centres, seed=measuring.seed)
    chosen = tuple(check_kind(str(one)) for one in kinds or FAISS_KINDS)
    result = bench_ann(crowd, chosen, k=k, how=measuring.how())
    measuring.write("ann", asdict(crowd) | {"k": k}, result)
    recalls = ["100.0", *map(percent, result.facts["recall"])]
    seconds = ["-", *(f"{one:.0f}" for one in result.facts["seconds_to_make"])]
    rows = [
        (one.variant, recall, str(one.ratio), made)
        for one, recall, made in zip(result.timings, recalls, seconds, strict=True)
    ]
    print_table(("search", f"recall at {k}", "times as fast as exact", "seconds to make"), rows, names=1)


@grouped
def rerank(
    measuring: Measuring,
    queries: Queries = 3368,
    gallery: Annotated[int, typer.Option(min=1, help="Vectors that are ranked.")] = 15913,
    dim: Dim = 2048,
    people: Annotated[int, typer.Option(min=1, help="Centres that the vectors lie around.")] = 750,
    dense_images: Annotated[
        int, typer.Option(min=2, help="Vectors for the dense form, which needs 28 bytes for each pair of them.")
    ] = 6000,
    memory: AloneToo = True,
) -> None:
    """k-reciprocal re-ranking, sparse and in chunks, beside the dense textbook form: time and memory.

    Vectors are random around random centres; the numbers that stand here are Market-1501's. The sparse form ranks
    them all, in a process of its own; both forms rank a part, each in a process of its own for its memory, and in
    turns in one process for their time.
    """
    from eval.bench.crowd import Crowd
    from eval.bench.rerank import bench_rerank

    crowd = Crowd(gallery, queries, dim, people, spread=0.8, seed=measuring.seed)
    result = bench_rerank(crowd, dense_images, alone=memory, how=measuring.how())
    measuring.write("rerank", asdict(crowd) | {"dense_images": dense_images}, result)
    rows = [
        (
            one["variant"],
            *(f"{one[name]}" for name in ("queries", "gallery")),
            *(f"{one[name]:.1f}" for name in ("seconds", "cpu_seconds")),
            f"{one['peak_mib']:.0f}",
        )
        for one in result.facts["alone"]
    ]
    if rows:
        print_table(("alone in a process", "queries", "gallery", "seconds", "of CPU", "peak MiB"), rows, names=1)
    ratio = result.timings[1].ratio
    typer.echo(f"in turns: {ratio.median:.1f} times as fast ({ratio.low:.1f} to {ratio.high:.1f})")
    differing, furthest = percent(result.facts["differing"]), result.facts["furthest"]
    typer.echo(f"distances that differ by more than 1e-5: {differing} %, at most by {furthest:.1e}")


@grouped
def retrieval(
    measuring: Measuring,
    size: Annotated[int, typer.Option(min=1, help="Vectors of the gallery.")] = 1_000_000,
    dim: Dim = 512,
    queries: Queries = 1000,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours of each.")] = 100,
    memory: AloneToo = True,
) -> None:
    """Exact search in chunks beside faiss's flat index: time, memory over the vectors, the same neighbours.

    Vectors are random, of unit norm. Both search them in turns in one process, for their time, and each in a process of
    its own, for its memory. Needs the extra faiss.
    """
    from eval.bench.crowd import Crowd
    from eval.bench.search import bench_search
    from eval.bench.timing import spread

    crowd = Crowd(size, queries, dim, seed=measuring.seed)
    result = bench_search(crowd, k=k, memory=memory, how=measuring.how())
    found, threads = result.facts, result.facts.pop("threads")
    measuring.write("retrieval", {**asdict(crowd), "k": k, "threads": threads}, result)
    rows = [
        (
            one.variant,
            str(spread(one.seconds)),
            f"{one.rate.median:.1f}",
            str(one.ratio),
            f"{mib:,.0f}" if (mib := found["over_mib"].get(one.variant)) is not None else "-",
        )
        for one in result.timings
    ]
    print_table(("search", "seconds", "queries a second", "times as fast", "MiB over the vectors"), rows, names=1)
    typer.echo(
        f"{queries:,} queries in {size:,} x {dim} ({crowd.mib:,.0f} MiB), k {k}, {threads} threads; "
        f"the same neighbour at {100 * found['same']:.3f} % of places, scores within {found['furthest']:.1e}"
    )
