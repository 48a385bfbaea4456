"""`fewshot-eval score`."""

from __future__ import annotations

from functools import partial

from eval.commands.common import COMMAND
from eval.commands.figures import print_metrics
from eval.commands.options import Boundary, FinishedRun, QueryResamples, RootNow, SplitListNow
from fewshot_seg.commands.console import tracked

EPILOG = """
[bold]Examples[/]

fewshot-eval score runs/fold0 --boundary

fewshot-eval score runs/fold0 --root /other/place/VOC2012 --bootstrap 10000
"""


def score(
    run: FinishedRun,
    root: RootNow = None,
    split_list: SplitListNow = None,
    boundary: Boundary = False,
    bootstrap: QueryResamples = 1000,
) -> None:
    """Score a finished run again from its predictions, without a network: metrics.json and counts.npz.

    Intervals are 95 %, by bootstrap over query images.
    """
    from eval.episodes.scoring import Scoring, score_folder

    scoring = Scoring(boundary=boundary, samples=bootstrap)
    metrics = score_folder(run, root, split_list, scoring, partial(tracked, command=COMMAND))
    print_metrics(metrics, run)
