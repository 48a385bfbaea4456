"""`fewshot-eval retrieval`: how well images of a query's class are found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands.common import goes_on, track
from eval.commands.compare import print_tables
from eval.commands.lines import write_report_of
from eval.commands.options import Search
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

EPILOG = examples(
    "fewshot-eval retrieval --dataset cub --root CUB_200_2011 --out runs/cub",
    "fewshot-eval retrieval --root birds --classes 101-150 -w default -w run/best.safetensors --out runs/birds",
    "fewshot-eval retrieval --dataset csv --root photos/df.csv --out runs/photos",
)


_CLASSES = "Of class folders: positions in natural order (101-150), or names and patterns, by commas."
_TABLE = "A CSV table in the folder that shares out its images."


@grouped
def retrieval(
    root: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The data's folder, as its archive unpacks to; folder: one folder a class."),
    ],
    search: Search,
    dataset: Annotated[
        Literal["cub", "cars", "sop", "inshop", "folder", "csv"],
        typer.Option(help="CUB-200-2011, Cars-196, SOP, In-Shop, class folders, or a table."),
    ] = "folder",
    split: Annotated[
        Literal["test", "validation", "train"], typer.Option(help="Which classes; validation is another word for test.")
    ] = "test",
    classes: Annotated[str | None, typer.Option(metavar="RANGE", help=_CLASSES, show_default="the second half")] = None,
    split_file: Annotated[
        str | None, typer.Option(metavar="NAME", help=_TABLE, show_default="none, of csv df.csv")
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option("-k", min=1, help="Of recall at K. May be repeated.", show_default="1 2 4 8; SOP: 1 10 100 1000"),
    ] = None,
    nmi: Annotated[
        bool, typer.Option("--nmi/--no-nmi", help="Cluster the vectors, too: long for many classes.")
    ] = True,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Take a published set that is not complete.")
    ] = False,
) -> None:
    """Find images of each query's class: R@K, MAP@R, R-precision and NMI, beside published figures.

    Writes RUN/config.json, vectors, queries-WEIGHTS.npz, metrics.json and report.html. The same command goes on where
    an interrupted run stopped; a run of another config in the same folder is refused.
    """
    from eval.episodes.scoring import read_config
    from eval.retrieval.data import Choice
    from eval.retrieval.run import KIND, RetrievalTask, run_retrieval
    from eval.retrieval.tables import figures_table

    choice = Choice(dataset, root, split, classes, split_file, allow_missing)
    task = RetrievalTask(choice, ks=tuple(k or ()), nmi=nmi, **search.settings())
    with goes_on():
        metrics = run_retrieval(task, track)
    print_tables([figures_table(read_config(task.out, KIND), metrics)])
    if search.report:
        typer.echo(f"Report: {write_report_of(retrieval, task.out, root, device=search.device)}")
