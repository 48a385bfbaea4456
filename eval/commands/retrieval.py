"""`fewshot-eval retrieval`: how well images of a query's class are found."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eval.commands.common import COMMAND, goes_on
from eval.commands.lines import write_report_of
from eval.commands.options import Device, ImageSize, ImageWorkers, MakeReport, Resamples, RunFolder, SeveralWeights
from fewshot_seg.commands.console import print_table, tracked

if TYPE_CHECKING:
    from eval.tables.table import Table

EPILOG = """
[bold]Examples[/]

fewshot-eval retrieval --dataset cub --root CUB_200_2011 --out runs/cub

fewshot-eval retrieval --root birds --classes 101-150 -w default -w run/best.safetensors --out runs/birds

fewshot-eval retrieval --dataset csv --root photos/df.csv --out runs/photos
"""


def retrieval(
    root: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The data's folder, as its archive unpacks to; folder: one folder a class."),
    ],
    out: RunFolder,
    dataset: Annotated[
        Literal["cub", "cars", "sop", "inshop", "folder", "csv"],
        typer.Option(help="CUB-200-2011, Cars-196, SOP, In-Shop, class folders, or a table."),
    ] = "folder",
    split: Annotated[
        Literal["test", "validation", "train"], typer.Option(help="Which classes; validation is another word for test.")
    ] = "test",
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="RANGE",
            help="Of class folders: positions in natural order (101-150), or names and patterns, by commas.",
            show_default="the second half",
        ),
    ] = None,
    split_file: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A CSV table in the folder that shares out its images.",
            show_default="none, of csv df.csv",
        ),
    ] = None,
    weights: SeveralWeights = None,
    k: Annotated[
        list[int] | None,
        typer.Option("-k", min=1, help="Of recall at K. May be repeated.", show_default="1 2 4 8; SOP: 1 10 100 1000"),
    ] = None,
    nmi: Annotated[
        bool, typer.Option("--nmi/--no-nmi", help="Cluster the vectors, too: long for many classes.")
    ] = True,
    device: Device = "auto",
    size: ImageSize = None,
    workers: ImageWorkers = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Take a published set that is not complete.")
    ] = False,
    bootstrap: Resamples = 1000,
    report: MakeReport = True,
) -> None:
    """Find images of each query's class: R@K, MAP@R, R-precision and NMI, beside published figures.

    Writes RUN/config.json, vectors, queries-WEIGHTS.npz, metrics.json and report.html. The same command goes on where
    an interrupted run stopped; a run of another config in the same folder is refused.
    """
    from eval.episodes.scoring import read_config
    from eval.retrieval.data import Choice
    from eval.retrieval.run import KIND, RetrievalTask, run_retrieval
    from eval.retrieval.tables import figures_table

    task = RetrievalTask(
        Choice(dataset, root, split, classes, split_file, allow_missing),
        out,
        weights=tuple(weights or ["default"]),
        ks=tuple(k or ()),
        device=device,
        size=size,
        workers=workers,
        samples=bootstrap,
        nmi=nmi,
    )
    with goes_on():
        metrics = run_retrieval(task, partial(tracked, command=COMMAND))
    _print(figures_table(read_config(out, KIND), metrics))
    if report:
        typer.echo(f"Report: {write_report_of(retrieval, out, root, device=device)}")


def _print(table: Table) -> None:
    typer.echo(table.title)
    print_table(table.columns, table.rows, names=table.names)
    for note in table.notes:
        typer.echo(note)
