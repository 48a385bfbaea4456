"""`fewshot-eval ablation`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.commands.common import goes_on, track
from eval.commands.compare import print_tables
from eval.commands.options import Data, Hints, Network, methods_option
from eval.commands.table_files import refuse_file, write_tables
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped
from fewshot_seg.errors import ConfigError

if TYPE_CHECKING:
    from eval.episodes.plan import SegmentationTask

EPILOG = examples(
    "fewshot-eval ablation --root voc --split-list voc/dev.txt --out runs/ablation --table docs/ablation.md",
    "fewshot-eval ablation --root voc --method ours --method no-grabcut --setting 1x1 --seeds 5 --out runs/grabcut",
    "`make ablation` does this on the development images.",
)


@grouped
def ablation(
    data: Data,
    hints: Hints,
    network: Network,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets a folder for each run.")],
    table: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="The table.", show_default="DIR/ablation.md")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many: 0, 1, 2 and so on.")] = 3,
    setting: Annotated[
        list[str] | None, typer.Option(metavar="WAYSxSHOTS", help="May be repeated.", show_default="1x1, 1x5, 2x1")
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="How many for each fold and setting.", show_default="one for each entry of the list"),
    ] = None,
    method: Annotated[list[str] | None, methods_option("May be repeated.", "ours, and all parts switched off")] = None,
) -> None:
    """Every part switched off in turn, on the same episodes, over several seeds: one table of what each is worth.

    The same command goes on where an interrupted one stopped.
    """
    if table is not None and table.suffix != ".md":
        raise ConfigError(f"--table {table}: choose a name that ends in .md")
    from eval.episodes.plan import SegmentationTask
    from eval.runs.folder import refuse_foreign_table
    from eval.studies.ablation import ABLATED, SETTINGS, AblationPlan, run_ablation

    task = SegmentationTask(
        out=out,
        episodes=episodes,
        methods=tuple(method) if method else ABLATED,
        **data.settings(),
        **hints.settings(),
        **network.settings(),
    )
    plan = AblationPlan(task, range(seeds), [_setting(text) for text in setting] if setting else SETTINGS)
    if table is None:
        refuse_foreign_table(out / "ablation.md")
    refuse_file(table, data.inputs())
    with goes_on():
        found = run_ablation(plan, track)
    found = replace(found, notes=(*found.notes, f"Made by: {_command(task, seeds, plan.settings)}"))
    print_tables([found])
    path = table or out / "ablation.md"
    write_tables(path, "", "", [found])
    typer.echo(f"As Markdown: {path}")


def _command(task: SegmentationTask, seeds: int, settings: Sequence[tuple[int, int]]) -> str:
    """What makes this table again, wherever the data lies."""
    words = ["fewshot-eval", "ablation", "--dataset", task.dataset, "--root", task.root.name]
    words += ["--split-list", task.split_list.name] if task.split_list else []
    words += ["--episodes", str(task.episodes)] if task.episodes else []
    words += ["--support-hint", task.support_hint] if task.support_hint else []
    words += ["--query-hint", task.query_hint] if task.query_hint else []
    words += ["--matcher", task.matcher, "--weights", task.weights, "--seeds", str(seeds)]
    for way, shot in settings:
        words += ["--setting", f"{way}x{shot}"]
    return shlex.join(words)


def _setting(text: str) -> tuple[int, int]:
    """1x5 is 1 way, 5 shots."""
    ways, _, shots = text.partition("x")
    if not (ways.isdecimal() and shots.isdecimal() and int(ways) and int(shots)):
        raise ConfigError(f"--setting {text}: give WAYSxSHOTS, as in 1x5")
    return int(ways), int(shots)
