"""`fewshot-eval hints`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import goes_on, track
from eval.commands.compare import print_tables
from eval.commands.options import Data, HintOf, Network, Seed, SeveralFolds, Shots, fold_of
from eval.commands.table_files import write_tables
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

EPILOG = examples(
    "fewshot-eval hints --root voc --split-list voc/dev.txt --out runs/hints",
    "fewshot-eval hints --root voc --fold 1 --episodes 50 --hint support-box --hint query-points --out runs/hints",
)


@grouped
def hints(
    data: Data,
    network: Network,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets a folder for each run, and hints.md.")],
    hint: Annotated[
        list[HintOf] | None,
        typer.Option(help="Whose, and of which kind. May be repeated.", show_default="all of them"),
    ] = None,
    fold: Annotated[list[SeveralFolds] | None, typer.Option(help="May be repeated.", show_default="0, 1, 2, 3")] = None,
    shot: Shots = 1,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="How many for each fold.", show_default="one for each entry of the list")
    ] = None,
    seed: Seed = 0,
) -> None:
    """What masks, boxes, points and scribbles of supports and queries are worth, each against none.

    Hints are made from the true masks, as a careful user would give them: the box around the object; one click where
    it is widest; two clicks on it and two beside it; strokes along its middle and around it. All on the same
    episodes. The same command goes on where an interrupted one stopped.
    """
    from eval.episodes.plan import SegmentationTask
    from eval.runs.folder import refuse_foreign_table
    from eval.studies.compare_tables import comparison_tables
    from eval.studies.hint_runs import FOLDS, SETTINGS, HintPlan, behind, run_hints

    refuse_foreign_table(out / "hints.md")
    settings = {**data.settings(), **network.settings()}
    task = SegmentationTask(out=out, shot=shot, episodes=episodes, seed=seed, **settings)
    folds = [fold_of(one) for one in fold or ()]
    chosen = tuple(map(str, hint)) if hint else SETTINGS
    with goes_on():
        found = run_hints(HintPlan(task, folds or FOLDS, chosen), track)
    tables = comparison_tables(found)[:2]
    print_tables(tables)
    write_tables(out / "hints.md", "", "", tables)
    worse = behind(found)
    typer.echo(f"No better than none: {', '.join(worse)}" if worse else "Every hint is better than none.")
    typer.echo(f"As Markdown: {out / 'hints.md'}")
