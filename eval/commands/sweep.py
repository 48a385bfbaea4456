"""`fewshot-eval sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import goes_on, track
from eval.commands.compare import print_tables
from eval.commands.options import Data, Drawing, Fold, Hints, Network, PairedResamples, Seed, fold_of
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

EPILOG = examples(
    "fewshot-eval sweep --set rejection=0,0.5,1 --set seeds.background=0.2,0.4 --root voc --split-list dev.txt "
    "--score-list fold0.txt --out sweeps/seeds",
    "The options are those of the segmenter in a run's config.json: rejection, refine, seeds.threshold, "
    "seeds.background, seeds.foreground, grabcut.iterations and so on.",
)


@grouped
def sweep(
    data: Data,
    hints: Hints,
    network: Network,
    drawing: Drawing,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets a run folder for each point.")],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="OPTION=V1,V2", help="An option and the values to try. May be repeated."),
    ],
    score_list: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A list to be scored on later: none of its images may be tuned on."),
    ] = None,
    allow_test_list: Annotated[
        bool, typer.Option("--allow-test-list", help="Tune on images that are scored on, all the same.")
    ] = False,
    fold: Annotated[Fold, typer.Option(help="The classes.")] = "all",
    episodes: Annotated[
        int | None, typer.Option(min=1, help="How many for each point.", show_default="one for each entry of the list")
    ] = None,
    seed: Seed = 0,
    groups: Annotated[int, typer.Option(min=2, help="Of classes, for cross-validation.")] = 4,
    bootstrap: PairedResamples = 1000,
) -> None:
    """Try every combination of options on a development list, best first, cross-validated over classes.

    Every point is a run folder under DIR, and DIR/sweep.json has the result. The same command goes on where an
    interrupted sweep stopped. PASCAL-5i's validation images are refused, whatever --score-list says.
    """
    from eval.episodes.plan import SegmentationTask
    from eval.episodes.scoring import Scoring
    from eval.studies.settings import parse_grid
    from eval.studies.sweep import Sweep, run_sweep, sweep_table

    task = SegmentationTask(
        out=out,
        fold=fold_of(fold),
        episodes=episodes,
        seed=seed,
        scoring=Scoring(samples=bootstrap),
        **vars(drawing),
        **data.settings(),
        **hints.settings(),
        **network.settings(),
    )
    plan = Sweep(task, parse_grid(settings), tuple(score_list or ()), allow_test_list, groups)
    with goes_on():
        result = run_sweep(plan, track)
    print_tables([sweep_table(result)])
    typer.echo(f"All of it: {out / 'sweep.json'}")
