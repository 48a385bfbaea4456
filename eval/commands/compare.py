"""`fewshot-eval compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.commands.options import PairedResamples
from eval.commands.table_files import refuse_file, write_tables
from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.entry import examples
from fewshot_seg.errors import ConfigError

if TYPE_CHECKING:
    from eval.tables.table import Table

EPILOG = examples(
    "fewshot-eval compare runs/old-fold? runs/new-fold? --out comparison.md",
    "Runs that differ in their fold alone are one system, with the mean over its folds. The first system is the one "
    "that the others are compared with.",
)

_ENDINGS = (".md", ".json", ".html")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help=f"Write it, too: {', '.join(_ENDINGS)}.")
    ] = None,
    bootstrap: PairedResamples = 1000,
) -> None:
    """Compare runs: figures, differences with p-values, and published figures beside them. Needs no data.

    Differences are paired where two runs segmented the same queries; otherwise they are not, and the table says so.
    """
    from eval.runs.folder import finished_runs
    from eval.studies.compare import compare as compare_systems
    from eval.studies.compare_tables import comparison_tables
    from eval.studies.systems import load_systems
    from fewshot_seg.imaging.export import write_json

    if out is not None:
        refuse_run_files(out)
        refuse_file(out, runs)
    if out is not None and out.suffix not in _ENDINGS:
        raise ConfigError(f"--out {out}: choose a name that ends in {', '.join(_ENDINGS)}")
    with finished_runs(*runs):
        found = compare_systems(load_systems(runs), bootstrap)
        tables = comparison_tables(found)
    print_tables(tables)
    if out is not None and out.suffix == ".json":
        write_json(out, found.to_dict())
    elif out is not None:
        write_tables(out, "Comparison", f"fewshot-eval compare {' '.join(map(str, runs))}", tables)


def refuse_run_files(out: Path) -> None:
    """ConfigError where a file stands in a run's folder under a name that the run's own files have."""
    if out.exists() and (out.parent / "config.json").exists() and out.suffix != ".md":
        raise ConfigError(f"{out}: a run's own file; choose another name or folder")


def print_tables(tables: list[Table]) -> None:
    """Print tables, each under its title."""
    for one in tables:
        typer.echo(one.title)
        print_table(one.columns, one.rows, names=one.names, limit=1000)
        for note in one.notes:
            typer.echo(note)
        typer.echo()
