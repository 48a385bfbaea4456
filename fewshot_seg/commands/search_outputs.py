"""What a search finds as JSON, as a table in the terminal, and as one in a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.searching import Entry, EntryHit
from fewshot_seg.errors import describe

DIGITS = 6


@dataclass(frozen=True)
class Shown:
    """How what is found is shown."""

    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
    sheet: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw queries and hits in one .jpg or .png.")] = (
        None
    )
    explain: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw why: similarity attention of each pair.")
    ] = None

    def show(self, entries: Sequence[Entry]) -> None:
        """Draw the sheet, if there is to be one, and print all that was found. OutputError: it can't be written."""
        if self.sheet is not None:
            from fewshot_seg.commands.search_sheets import write_sheet

            write_sheet(self.sheet, entries)
        if self.as_json:
            typer.echo(json.dumps([as_json_entry(entry) for entry in entries], indent=1))
        else:
            print_table(*table_of(entries))


def as_json_entry(entry: Entry) -> dict[str, Any]:
    """{"query", "hits": [{"path", "score"}]}, and in each hit the index's columns; "error" for a query without hits.

    A region has its "bbox", too: [x, y, w, h] in pixels.
    """
    query: Any = entry.queries[0] if len(entry.queries) == 1 else list(entry.queries)
    hits = [
        {**hit.columns, "path": hit.path, "score": round(hit.score, DIGITS)}
        | ({} if hit.region is None else {"bbox": list(hit.region)})
        for hit in entry.hits
    ]
    return {"query": query, "hits": hits} | ({} if entry.error is None else {"error": entry.error})


def table_of(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for the terminal. Control characters are written as escapes: a name must not steer it."""
    names = _column_names(entries)
    boxes = _box_column(entries)
    rows = []
    for entry in entries:
        query = ", ".join(map(describe, entry.queries))
        if entry.error is not None or not entry.hits:
            rows.append([query, "error" if entry.error is not None else "no hit", "", *("" for _ in (*boxes, *names))])
        for hit in entry.hits:
            columns = [describe(hit.columns[name]) if hit.columns.get(name) else "" for name in names]
            rows.append([query, describe(hit.path), f"{hit.score:.3f}", *_box_text(hit), *columns])
    return ["query", "hit", "score", *boxes, *names], rows


def write_table(path: Path, entries: Sequence[Entry]) -> None:
    """A CSV table: query, rank, path, score, a region's box (x,y,w,h), and the index's columns.

    Raises:
        OutputError: it can't be written.
    """
    from fewshot_seg.imaging.export import atomic_file

    names = _column_names(entries)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["query", "rank", "path", "score", *_box_column(entries), *names])
    for entry in entries:
        for rank, hit in enumerate(entry.hits, start=1):
            columns = [hit.columns.get(name, "") for name in names]
            writer.writerow([entry.name, rank, hit.path, f"{hit.score:.{DIGITS}f}", *_box_text(hit), *columns])
    with atomic_file(path) as stream:
        stream.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _box_column(entries: Sequence[Entry]) -> list[str]:
    return ["box"] if any(hit.region is not None for entry in entries for hit in entry.hits) else []


def _box_text(hit: EntryHit) -> list[str]:
    return [] if hit.region is None else [",".join(map(str, hit.region))]


def _column_names(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for hit in entry.hits for name in hit.columns))
