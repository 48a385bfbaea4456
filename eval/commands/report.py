"""`fewshot-eval report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from eval.commands.lines import Command, write_report_of
from eval.commands.options import FinishedRun, RootNow, SplitListNow
from fewshot_seg.commands.entry import examples

EPILOG = examples(
    "fewshot-eval report runs/fold0",
    "fewshot-eval report runs/fold0 --root /other/place/VOC2012 --examples 20",
)


def report(
    run: FinishedRun,
    root: RootNow = None,
    split_list: SplitListNow = None,
    examples: Annotated[
        int, typer.Option(min=0, max=100, help="Episodes or queries to draw of the worst, of the best and at random.")
    ] = 8,
    weights: Annotated[
        str | None, typer.Option("--weights", "-w", help="Where the run's weights are now.", show_default="the run's")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", "-d", help="Where the drawn ones are computed again.", show_default="the run's"),
    ] = None,
) -> None:
    """Write RUN/report.html, one file to read in a browser: figures, classes, examples drawn, all of them in a table.

    Drawn episodes of a segmentation run are segmented again, to show attention and trimaps; of a retrieval or
    re-identification run, queries are drawn with their nearest images, and attention to each other.
    """
    typer.echo(f"Report: {make_report(run, root, split_list, examples, weights, device)}")


def make_report(run: Path, *arguments: Any, **options: Any) -> Path:
    """Write a finished run's report.html, whatever its kind; arguments and errors as `write_report_of`."""
    from eval.commands.reid import reid
    from eval.commands.retrieval import retrieval
    from eval.commands.segment import segment
    from eval.episodes.scoring import read_config
    from eval.runs.folder import finished_runs

    commands: dict[object, Command] = {"reid": reid, "retrieval": retrieval}
    with finished_runs(run):
        kind = str(read_config(run, None).get("run"))
        return write_report_of(commands.get(kind, segment), run, *arguments, **options)
