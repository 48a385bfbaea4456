"""`fewshot-eval dev`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import COMMAND
from eval.commands.compare import print_tables, write_tables
from eval.commands.segment import Hint, Method, hint_name
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
    split_list: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lines ID__CC; without it, every class of every mask.", show_default=False),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="How many for each fold and setting.", show_default="one for each entry of the list"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same episodes and results.")] = 0,
    method: Annotated[
        list[Method] | None, typer.Option(help="May be repeated.", show_default="ours and centre-box")
    ] = None,
    support_hint: Annotated[
        Hint | None,
        typer.Option(help="What the segmenter is told of each support, made from its mask.", show_default="nothing"),
    ] = None,
    support_masks: Annotated[bool, typer.Option("--support-masks", help="The same as --support-hint mask.")] = False,
    query_hint: Annotated[
        Hint | None,
        typer.Option(help="What the segmenter is told of each query, made from its mask.", show_default="nothing"),
    ] = None,
    matcher: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="auto: for a fold of pascal5i the one trained without its classes (fold0 to fold3), else the default; "
            "none; or a name or file.",
        ),
    ] = "auto",
    weights: Annotated[
        str, typer.Option("--weights", "-w", help="A name from 'fewshot-seg models', or a checkpoint file.")
    ] = "default",
    device: Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Episodes at a time; the results are the same.", show_default="processors, up to 8"),
    ] = None,
) -> None:
    """All four folds, 1- and 2-way, 1- and 5-shot, in one table: figures for development.

    Folds with too few images or classes are left out, and the table says so. The same command goes on where an
    interrupted one stopped.
    """
    from eval.dev import DevPlan, run_dev
    from eval.segmentation import SegmentationTask

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
