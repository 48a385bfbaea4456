"""`fewshot-eval dev`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import goes_on, track
from eval.commands.compare import print_tables
from eval.commands.options import Data, Hints, Network, Seed, methods_option
from eval.commands.table_files import write_tables
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

EPILOG = examples(
    "fewshot-eval dev --root voc --split-list voc/dev.txt --out runs/dev",
    "`make eval-dev` does this on the development images.",
)


@grouped
def dev(
    data: Data,
    hints: Hints,
    network: Network,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets a folder for each run, and dev.md.")],
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="How many for each fold and setting.", show_default="one for each entry of the list"),
    ] = None,
    seed: Seed = 0,
    method: Annotated[list[str] | None, methods_option("May be repeated.", "ours and centre-box")] = None,
) -> None:
    """All four folds, 1- and 2-way, 1- and 5-shot, in one table: figures for development.

    Folds with too few images or classes are left out, and the table says so. The same command goes on where an
    interrupted one stopped.
    """
    from eval.episodes.plan import SegmentationTask
    from eval.runs.folder import refuse_foreign_table
    from eval.studies.dev import DevPlan, run_dev

    task = SegmentationTask(
        out=out,
        episodes=episodes,
        seed=seed,
        methods=tuple(method or ["ours", "centre-box"]),
        **data.settings(),
        **hints.settings(),
        **network.settings(),
    )
    refuse_foreign_table(out / "dev.md")
    with goes_on():
        table = run_dev(DevPlan(task), track)
    print_tables([table])
    write_tables(out / "dev.md", "", "", [table])
    typer.echo(f"As Markdown: {out / 'dev.md'}")
