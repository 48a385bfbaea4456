"""`fewshot-eval dev`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import COMMAND
from eval.commands.compare import print_tables, write_tables
from eval.commands.options import (
    Device,
    MatcherChoice,
    QueryHint,
    Seed,
    SplitList,
    SupportHint,
    SupportMasks,
    Weights,
    Workers,
    hint_name,
)
from eval.commands.segment import Method
from fewshot_seg.commands.console import complain, tracked

__all__ = ["EPILOG", "dev"]

EPILOG = """
[bold]Examples[/]

fewshot-eval dev --root voc --split-list voc/dev.txt --out runs/dev

`make eval-dev` does this on the development images.
"""


def dev(
    root: Annotated[Path, typer.Option(metavar="DIR", help="A folder in VOC's layout.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets a folder for each run, and dev.md.")],
    split_list: SplitList = None,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="How many for each fold and setting.", show_default="one for each entry of the list"),
    ] = None,
    seed: Seed = 0,
    method: Annotated[
        list[Method] | None, typer.Option(help="May be repeated.", show_default="ours and centre-box")
    ] = None,
    support_hint: SupportHint = None,
    support_masks: SupportMasks = False,
    query_hint: QueryHint = None,
    matcher: MatcherChoice = "auto",
    weights: Weights = "default",
    device: Device = "auto",
    workers: Workers = None,
) -> None:
    """All four folds, 1- and 2-way, 1- and 5-shot, in one table: figures for development.

    Folds with too few images or classes are left out, and the table says so. The same command goes on where an
    interrupted one stopped.
    """
    from eval.episodes.plan import SegmentationTask
    from eval.studies.dev import DevPlan, run_dev

    task = SegmentationTask(
        root=root,
        out=out,
        split_list=split_list,
        episodes=episodes,
        seed=seed,
        methods=tuple(one.value for one in method or [Method.ours, Method.centre_box]),
        support_hint=hint_name(support_hint, support_masks),
        query_hint=hint_name(query_hint),
        matcher=matcher,
        weights=weights,
        device=device,
        workers=workers,
    )
    try:
        table = run_dev(DevPlan(task), partial(tracked, command=COMMAND))
    except KeyboardInterrupt:
        complain("the same command goes on from here", kind="interrupted", command=COMMAND)
        raise
    print_tables([table])
    write_tables(out / "dev.md", "", "", [table])
    typer.echo(f"As Markdown: {out / 'dev.md'}")
