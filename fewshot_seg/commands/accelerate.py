"""`fewshot-seg index accelerate`: approximate search, made from an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fewshot_seg.commands.console import tracked
from fewshot_seg.commands.engine import Threads
from fewshot_seg.commands.entry import examples

EPILOG = examples(
    "fewshot-seg index accelerate photos.index --with faiss-hnsw",
    "fewshot-seg search photos.index query.jpg --backend faiss-hnsw",
    "fewshot-seg index accelerate photos.index --with milvus --milvus http://localhost:19530",
)


Accelerating = Literal["faiss-hnsw", "faiss-ivfpq", "faiss-flat", "milvus"]
Backend = Annotated[
    Literal["exact", Accelerating], typer.Option("--backend", help="Exact search, or what 'index accelerate' has made.")
]


def accelerate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The index's folder.")],
    kind: Annotated[
        Accelerating,
        typer.Option(
            "--with",
            help="faiss-hnsw: a graph, fast; faiss-ivfpq: small; faiss-flat: exact; milvus: a file, server or cluster.",
        ),
    ],
    milvus: Annotated[
        str | None, typer.Option(metavar="URI", help="Where Milvus runs.", show_default="a file in the index's folder")
    ] = None,
    threads: Threads = None,
) -> None:
    """Make an approximate backend for 'search --backend', and say how many of the nearest images it finds.

    Scores are always the exact ones; an image may be missed. After a change to the index, make it again.
    """
    from fewshot_seg.commands.indexes import open_index

    made = open_index(folder, threads=threads).accelerate(kind, uri=milvus, threads=threads, progress=tracked)
    size = f", {made.bytes / 2**20:.1f} MB" if made.bytes else ""
    typer.echo(f"{folder}: {kind} made{size}; it finds {100 * made.recall:.1f} % of the 10 nearest")
