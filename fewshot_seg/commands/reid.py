"""`fewshot-seg reid`: who is that, among pictures of other cameras?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewshot_seg.commands.console import complain, tracked
from fewshot_seg.commands.engine import Device, Engine, Threads
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped
from fewshot_seg.commands.search_outputs import Shown

if TYPE_CHECKING:
    from fewshot_seg.commands.searching import Answer, Entry, Query
    from fewshot_seg.retrieval.index import Index

reid_app = typer.Typer(
    name="reid", help="Find people or vehicles again in other cameras.", no_args_is_help=True, rich_markup_mode="rich"
)

SEARCH_EPILOG = examples(
    "fewshot-seg index build gallery.index --csv gallery.csv   (columns path, id, camera)",
    "fewshot-seg reid search gallery.index query/ -k 5 --rerank --same-camera drop --sheet hits.jpg",
    "fewshot-seg reid search bounding_box_test/ 0002_c1s1_000451_03.jpg --explain why --json",
)

RANK_EPILOG = examples("fewshot-seg reid rank gallery.index query/ --rerank --out ranks.csv")


@reid_app.callback()
def _reid() -> None:
    """Find people or vehicles again in other cameras."""


@dataclass(frozen=True)
class Asked:
    """What is searched for, where, and how."""

    gallery: Annotated[
        Path,
        typer.Argument(
            metavar="GALLERY",
            help="An index, best with columns id and camera; or a folder whose file names tell both, indexed in "
            "memory.",
        ),
    ]
    queries: Annotated[list[str], typer.Argument(metavar="QUERY", help="Image files, folders or globs.")]
    rerank: Annotated[
        bool, typer.Option("--rerank", help="By k-reciprocal neighbours; looks at all queries together.")
    ] = False
    query_expansion: Annotated[
        bool,
        typer.Option("--query-expansion", help="Average each query with the three that it finds first, and search."),
    ] = False
    same_camera: Annotated[
        Literal["keep", "drop"], typer.Option(help="What becomes of images from the query's own camera.")
    ] = "keep"
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="C", help="The queries' camera.", show_default="from the index, or names such as ID_c1..."
        ),
    ] = None
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Of a folder: groups id and camera in a path.",
            show_default="NAME_c1..., NAME_cam1...",
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", "-w", help="For a folder, or the index's own if they were moved.", show_default="default"
        ),
    ] = None
    device: Device = "auto"
    threads: Threads = None

    def entries(
        self, k: int | None, sheet: Path | None = None, table: Path | None = None, explain: Path | None = None
    ) -> list[Entry]:
        """What is found, at most `k` hits a query; in the folder `explain` it is drawn why.

        Raises:
            ConfigError: what is going to be written is a query or lies in the gallery.
        """
        from fewshot_seg.commands.search_sheets import Explainer, refuse_gallery, refuse_targets
        from fewshot_seg.commands.searching import collect, find_queries

        asked = find_queries(self.queries)
        paths = [query.path for query in asked]
        refuse_targets(paths, self.gallery, sheet, table, explain)
        index = self.index()
        refuse_gallery(index, (sheet, table))
        return collect(self._answers(index, asked, k), Explainer(explain, paths).draw)

    def _answers(self, index: Index, asked: list[Query], k: int | None) -> Iterator[Answer]:
        """Each query's answer, in order."""
        from fewshot_seg.commands.searching import Answer
        from fewshot_seg.errors import FewShotError
        from fewshot_seg.reid.expansion import ExpansionOptions
        from fewshot_seg.reid.rerank import RerankOptions
        from fewshot_seg.reid.search import SearchOptions, check_camera, query_cameras, search_gallery

        paths = [query.path for query in asked if query.error is None]
        said = None if self.camera is None else check_camera(index, self.camera)
        cameras = query_cameras(index, paths) if said is None else [said] * len(paths)
        rerank, expansion = (
            RerankOptions() if self.rerank else None,
            ExpansionOptions() if self.query_expansion else None,
        )
        found = search_gallery(index, paths, cameras, SearchOptions(k, self.same_camera, rerank, expansion), tracked)
        for query in asked:
            hits = None if query.error is not None else next(found)
            if isinstance(hits, FewShotError):
                yield Answer((query.path,), error=str(hits))
            else:
                yield Answer((query.path,), hits or [], query.error)

    def index(self) -> Index:
        """The gallery's index, or one of the folder's images, made now."""
        from fewshot_seg.commands.indexes import open_index
        from fewshot_seg.errors import ConfigError
        from fewshot_seg.reid.search import read_items
        from fewshot_seg.retrieval.folder import NAME
        from fewshot_seg.retrieval.index import Index

        if (self.gallery / NAME).exists() or not self.gallery.is_dir():
            if self.pattern is not None:
                raise ConfigError("--pattern is for a folder of images; an index has columns, so leave it out")
            return open_index(self.gallery, self.weights, self.device, self.threads, load=True)
        items = read_items(self.gallery, self.pattern)
        embedder = Engine(self.weights or "default", self.device, threads=self.threads).embedder()
        index = Index.build(items.paths, embedder, columns=items.columns, progress=tracked)
        for failure in index.changes.failures:
            complain(failure.error)
        return index


@reid_app.command(epilog=SEARCH_EPILOG)
@grouped
def search(
    asked: Asked, shown: Shown, k: Annotated[int, typer.Option("-k", min=1, help="Hits of a query, at most.")] = 10
) -> None:
    """Find who is in each QUERY in the GALLERY: score is the cosine, re-ranked 1 - the distance.

    A query that cannot be read is reported, the others are done, and the exit status is 1.
    """
    entries = asked.entries(k, shown.sheet, explain=shown.explain)
    shown.show(entries)
    if any(entry.error is not None for entry in entries):
        raise typer.Exit(1)


@reid_app.command(epilog=RANK_EPILOG)
@grouped
def rank(
    asked: Asked,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="CSV: query, rank, path, score, columns of the index.")
    ],
) -> None:
    """Rank the whole GALLERY for each QUERY, into a table.

    A query that cannot be read is reported, the others are done, and the exit status is 1.
    """
    from fewshot_seg.commands.search_outputs import write_table

    entries = asked.entries(None, table=out)
    write_table(out, entries)
    done = [entry for entry in entries if entry.error is None]
    typer.echo(f"{out}: {len(done)} queries, {sum(len(entry.hits) for entry in done)} ranked images")
    if len(done) < len(entries):
        raise typer.Exit(1)
