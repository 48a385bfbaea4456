"""`fewshot-seg reid`: who is that, among pictures of other cameras?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewshot_seg.commands.console import complain, print_table, tracked
from fewshot_seg.commands.engine import Device, Engine, Threads

if TYPE_CHECKING:
    from fewshot_seg.commands.searching import Answer, Query
    from fewshot_seg.reid.search import SearchOptions
    from fewshot_seg.retrieval.index import Index

reid_app = typer.Typer(
    name="reid", help="Find people or vehicles again in other cameras.", no_args_is_help=True, rich_markup_mode="rich"
)

SEARCH_EPILOG = """
[bold]Examples[/]

fewshot-seg index build gallery.index --csv gallery.csv   (columns path, id, camera)

fewshot-seg reid search gallery.index query/ -k 5 --rerank --same-camera drop --sheet hits.jpg

fewshot-seg reid search bounding_box_test/ 0002_c1s1_000451_03.jpg --explain why --json
"""

RANK_EPILOG = """
[bold]Examples[/]

fewshot-seg reid rank gallery.index query/ --rerank --out ranks.csv
"""


Gallery = Annotated[
    Path,
    typer.Argument(
        metavar="GALLERY",
        help="An index, best with columns id and camera; or a folder whose file names tell both, indexed in memory.",
        show_default=False,
    ),
]
Queries = Annotated[
    list[str], typer.Argument(metavar="QUERY", help="Image files, folders or globs.", show_default=False)
]
Rerank = Annotated[bool, typer.Option("--rerank", help="By k-reciprocal neighbours; looks at all queries together.")]
Expansion = Annotated[
    bool, typer.Option("--query-expansion", help="Average each query with the three that it finds first, and search.")
]
Policy = Annotated[Literal["keep", "drop"], typer.Option(help="What becomes of images from the query's own camera.")]
Camera = Annotated[
    str | None,
    typer.Option(metavar="C", help="The queries' camera.", show_default="from the index, or names such as ID_c1..."),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX", help="Of a folder: groups id and camera in a path.", show_default="NAME_c1..., NAME_cam1..."
    ),
]
OwnWeights = Annotated[
    str | None,
    typer.Option(
        "--weights", "-w", help="For a folder, or the index's own if they were moved.", show_default="default"
    ),
]


@reid_app.callback()
def _reid() -> None:
    """Find people or vehicles again in other cameras."""


@dataclass(frozen=True)
class _Place:
    """Where and with what is searched."""

    gallery: Path
    weights: str | None
    device: str
    threads: int | None
    pattern: str | None
    camera: str | None
    outputs: tuple[Path | None, ...] = ()  # none of which may be an image of the gallery


@reid_app.command(epilog=SEARCH_EPILOG)
def search(
    gallery: Gallery,
    queries: Queries,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits of a query, at most.")] = 10,
    rerank: Rerank = False,
    query_expansion: Expansion = False,
    same_camera: Policy = "keep",
    camera: Camera = None,
    pattern: Pattern = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="FILE", help="Draw queries and hits in one .jpg or .png.", show_default=False),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain", metavar="DIR", help="Draw why: similarity attention of each pair.", show_default=False
        ),
    ] = None,
    weights: OwnWeights = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Find who is in each QUERY in the GALLERY: score is the cosine, re-ranked 1 - the distance.

    A query that cannot be read is reported, the others are done, and the exit status is 1.
    """
    from fewshot_seg.commands.search_outputs import as_json_entry, table_of
    from fewshot_seg.commands.search_sheets import Explainer, refuse_targets, write_sheet
    from fewshot_seg.commands.searching import find_queries

    asked = find_queries(queries)
    paths = [query.path for query in asked]
    refuse_targets(paths, gallery, sheet, explain)
    place = _Place(gallery, weights, device, threads, pattern, camera, (sheet,))
    answers = _answers(place, asked, _options(k, rerank, query_expansion, same_camera))
    explainer = Explainer(explain, paths)
    entries = []
    for answer in answers:
        if answer.error is not None:
            complain(answer.error)
        explainer.draw(answer)
        entries.append(answer.entry())
    if sheet is not None:
        write_sheet(sheet, entries)
    if as_json:
        typer.echo(json.dumps([as_json_entry(entry) for entry in entries], indent=1))
    else:
        print_table(*table_of(entries))
    if any(entry.error is not None for entry in entries):
        raise typer.Exit(1)


@reid_app.command(epilog=RANK_EPILOG)
def rank(
    gallery: Gallery,
    queries: Queries,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="CSV: query, rank, path, score, columns of the index.")
    ],
    rerank: Rerank = False,
    query_expansion: Expansion = False,
    same_camera: Policy = "keep",
    camera: Camera = None,
    pattern: Pattern = None,
    weights: OwnWeights = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Rank the whole GALLERY for each QUERY, into a table.

    A query that cannot be read is reported, the others are done, and the exit status is 1.
    """
    from fewshot_seg.commands.search_outputs import write_table
    from fewshot_seg.commands.search_sheets import refuse_targets
    from fewshot_seg.commands.searching import find_queries

    asked = find_queries(queries)
    refuse_targets([query.path for query in asked], gallery, None, out)
    place = _Place(gallery, weights, device, threads, pattern, camera, (out,))
    entries = []
    for answer in _answers(place, asked, _options(None, rerank, query_expansion, same_camera)):
        if answer.error is not None:
            complain(answer.error)
        entries.append(answer.entry())
    write_table(out, entries)
    done = [entry for entry in entries if entry.error is None]
    typer.echo(f"{out}: {len(done)} queries, {sum(len(entry.hits) for entry in done)} ranked images")
    if len(done) < len(entries):
        raise typer.Exit(1)


def _options(k: int | None, rerank: bool, expansion: bool, same_camera: Policy) -> SearchOptions:
    from fewshot_seg.reid.expansion import ExpansionOptions
    from fewshot_seg.reid.rerank import RerankOptions
    from fewshot_seg.reid.search import SearchOptions

    return SearchOptions(
        k,
        same_camera,
        RerankOptions() if rerank else None,
        ExpansionOptions() if expansion else None,
    )


def _answers(place: _Place, asked: list[Query], options: SearchOptions) -> Iterator[Answer]:
    """Each query's answer, in order."""
    from fewshot_seg.commands.search_sheets import refuse_gallery
    from fewshot_seg.commands.searching import Answer
    from fewshot_seg.errors import FewShotError
    from fewshot_seg.reid.search import check_camera, query_cameras, search_gallery

    index = _open(place)
    refuse_gallery(index, place.outputs)
    paths = [query.path for query in asked if query.error is None]
    said = None if place.camera is None else check_camera(index, place.camera)
    cameras = query_cameras(index, paths) if said is None else [said] * len(paths)
    found = search_gallery(index, paths, cameras, options, tracked)
    for query in asked:
        hits = None if query.error is not None else next(found)
        if isinstance(hits, FewShotError):
            yield Answer((query.path,), error=str(hits))
        else:
            yield Answer((query.path,), hits or [], query.error)


def _open(place: _Place) -> Index:
    """The gallery's index, or one of the folder's images, made now."""
    from fewshot_seg.commands.indexes import open_index
    from fewshot_seg.errors import ConfigError
    from fewshot_seg.reid.search import read_items
    from fewshot_seg.retrieval.folder import NAME
    from fewshot_seg.retrieval.index import Index

    if (place.gallery / NAME).exists() or not place.gallery.is_dir():
        if place.pattern is not None:
            raise ConfigError("--pattern is for a folder of images; an index has columns, so leave it out")
        return open_index(place.gallery, place.weights, place.device, place.threads, load=True)
    items = read_items(place.gallery, place.pattern)
    embedder = Engine(place.weights or "default", place.device, threads=place.threads).embedder()
    index = Index.build(items.paths, embedder, columns=items.columns, progress=tracked)
    for failure in index.changes.failures:
        complain(failure.error)
    return index
