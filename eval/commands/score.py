"""`fewshot-eval score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import track
from eval.commands.figures import print_metrics
from eval.commands.options import Boundary, FinishedRun, QueryResamples, RootNow, SplitListNow
from fewshot_seg.commands.entry import examples

EPILOG = examples(
    "fewshot-eval score runs/fold0 --boundary",
    "fewshot-eval score runs/fold0 --root /other/place/VOC2012 --bootstrap 10000",
    "fewshot-eval score runs/fold0 --predictions theirs.jsonl --name theirs --out runs/theirs",
)


def score(
    run: FinishedRun,
    root: RootNow = None,
    split_list: SplitListNow = None,
    boundary: Boundary = False,
    bootstrap: QueryResamples = 1000,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another program's, of RUN's episodes (docs/plugins.md).")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What to call the method of --predictions.")] = "theirs",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="A run's folder for --predictions.")
    ] = None,
) -> None:
    """Score a finished run again from its predictions, without a network: metrics.json and counts.npz.

    Or score what another program predicted of its episodes, as a run of its own. Intervals are 95 %, by bootstrap
    over query images.
    """
    if (predictions is None) != (out is None):
        raise typer.BadParameter("--predictions and --out belong together: give both")
    from eval.episodes.brought import score_brought
    from eval.episodes.scoring import Scoring, score_folder
    from eval.runs.folder import finished_runs

    scoring = Scoring(boundary=boundary, samples=bootstrap)
    with finished_runs(run):
        if predictions is not None and out is not None:
            metrics = score_brought(run, predictions, name, out, (root, split_list), scoring, track)
        else:
            metrics = score_folder(run, root, split_list, scoring, track)
    print_metrics(metrics, out or run)
