"""`fewshot-seg search`: the images of an index that are most like an example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewshot_seg.commands.accelerate import Backend
from fewshot_seg.commands.engine import Device, Threads
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped
from fewshot_seg.commands.index import OwnWeights
from fewshot_seg.commands.indexes import open_index
from fewshot_seg.commands.search_outputs import Shown

if TYPE_CHECKING:
    from fewshot_seg.commands.searching import Entry, Query, SearchRequest
    from fewshot_seg.retrieval.index import Index

HELP = (
    "Find the images of INDEX that are most like each QUERY: score is the cosine, at most 1.\n\n"
    "The query itself is a hit if it is in the index. A query that cannot be read is reported, the others are done, "
    "and the exit status is 1."
)
EPILOG = examples(
    "fewshot-seg search photos.index query.jpg -k 5",
    "fewshot-seg search photos.index query.jpg --box 120,80,200,160 --sheet hits.jpg --explain why",
    "fewshot-seg search photos.index cup1.jpg cup2.jpg --combine any --not jug.jpg --json",
    "fewshot-seg search photos.index cup.jpg --regions --out found",
)


Queries = Annotated[list[str], typer.Argument(metavar="QUERY", help="Image files, folders or globs.")]
Hits = Annotated[int, typer.Option("-k", min=1, help="Hits of a query, at most.")]
Threshold = Annotated[float | None, typer.Option(min=-1, max=1, help="Least score of a hit.")]
Box = Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="What of the one QUERY is meant, in pixels.")]
Combined = Annotated[
    Literal["average", "any"] | None,
    typer.Option(
        help="Search with all queries at once: for what is like their average, or like any of them.",
        show_default="each query for itself",
    ),
]
Unlike = Annotated[
    list[str] | None, typer.Option("--not", metavar="PATH", help="An image of what is not meant. Repeat it for more.")
]
Table = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the hits as a table.")]
Regions = Annotated[
    bool,
    typer.Option("--regions", help="Find the object of each QUERY inside larger scenes: with a box, masks by --out."),
]
Candidates = Annotated[
    int | None, typer.Option(min=1, help="With --regions: images that are looked at.", show_default="50")
]
RegionsOut = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="With --regions: masks, overlays and regions.json.")
]


@grouped
def search(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="The index's folder.")],
    queries: Queries,
    shown: Shown,
    k: Hits = 10,
    threshold: Threshold = None,
    box: Box = None,
    combine: Combined = None,
    unlike: Unlike = None,
    csv: Table = None,
    regions: Regions = False,
    candidates: Candidates = None,
    out: RegionsOut = None,
    backend: Backend = "exact",
    weights: OwnWeights = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Find the images of INDEX that are most like each QUERY."""
    from fewshot_seg.commands.region_searching import check_regions
    from fewshot_seg.commands.search_outputs import write_table
    from fewshot_seg.commands.search_sheets import refuse_gallery, refuse_targets
    from fewshot_seg.commands.searching import SearchRequest, find_queries

    request = SearchRequest(k, threshold, box, unlike or (), combine)
    check_regions(regions, candidates, out, shown.explain, request)
    asked = find_queries(queries)
    refuse_targets([query.path for query in asked], folder, shown.sheet, csv, shown.explain, out)
    index = open_index(folder, weights, device, threads, load=True)
    refuse_gallery(index, (shown.sheet, csv))
    index.use_backend(backend)
    if regions:
        entries, complete = _regions(index, asked, request, candidates, out)
    else:
        entries, complete = _images(index, asked, request, shown.explain), True
    if csv is not None:
        write_table(csv, entries)
    shown.show(entries)
    if not complete or any(entry.error is not None for entry in entries):
        raise typer.Exit(1)


def _images(index: Index, asked: Sequence[Query], request: SearchRequest, explain: Path | None) -> list[Entry]:
    from fewshot_seg.commands.search_sheets import Explainer, refuse_gallery
    from fewshot_seg.commands.searching import collect, run_search

    explainer = Explainer(explain, [query.path for query in asked])
    refuse_gallery(index, explainer.files)
    return collect(run_search(index, asked, request), explainer.draw)


def _regions(
    index: Index, asked: Sequence[Query], request: SearchRequest, candidates: int | None, out: Path | None
) -> tuple[list[Entry], bool]:
    """What is found, and whether nothing had to be left out."""
    from fewshot_seg.commands.region_searching import RegionSheets, run_region_search
    from fewshot_seg.commands.searching import collect

    sheets = RegionSheets(out)
    sheets.start(asked)
    try:
        entries = collect(run_region_search(index, asked, request, candidates), sheets.draw)
    finally:  # after Ctrl-C, too: regions.json tells what is finished
        sheets.finish()
    return entries, sheets.lost == 0
