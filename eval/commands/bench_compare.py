"""`fewshot-eval bench NAME...`: comparisons side by side, their ratios held against targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.bench.comparisons import COMPARISONS, chosen
from eval.commands.common import COMMAND, track
from eval.commands.options import BenchFile, Device, Weights
from eval.commands.table_files import refuse_file, write_tables
from fewshot_seg.commands.console import complain, print_table
from fewshot_seg.commands.entry import examples

HELP = (
    "Compare speeds, side by side in one process, and hold the ratios against targets.\n\n"
    "NAME is all, or any of:\n\n"
    + "\n\n".join(f"{name}: {one.purpose}." for name, one in COMPARISONS.items())
    + "\n\nThe word 'compare' may be left out. What mining costs a training step: 'train-embed bench'."
)
EPILOG = examples("fewshot-eval bench all --root voc --out bench.json", "fewshot-eval bench attention start")


def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The comparisons.")],
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Images, and masks, in VOC's layout.", show_default="scikit-image's own"),
    ] = None,
    weights: Weights = "default",
    device: Device = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant has its turn.")] = 5,
    batch: Annotated[int, typer.Option(min=2, help="attention: images at a time, an even number.")] = 16,
    pairs: Annotated[int, typer.Option(min=1, help="textbook: pairs of query and support in all.")] = 40,
    queries: Annotated[int, typer.Option(min=1, help="folder: queries; for memory ten times as many.")] = 200,
    images: Annotated[int, typer.Option(min=1, help="disk: images to be embedded.")] = 1000,
    count: Annotated[int, typer.Option("--episodes", min=1, help="cache: episodes of a round.")] = 200,
    out: BenchFile = None,
    table_file: Annotated[Path | None, typer.Option("--table", metavar="FILE", help="The table in Markdown.")] = None,
) -> None:
    """See HELP."""
    for path in (out, table_file):
        refuse_file(path, [root])
    wanted, left_out = chosen(names, root)
    if left_out:
        complain(f"without --root {', '.join(left_out)} are left out", kind="note", command=COMMAND)
    from eval.bench.comparisons import run_comparisons
    from eval.bench.findings import findings_table, timings_of
    from eval.bench.setting import Setting
    from eval.bench.timing import write_bench

    setting = Setting(root, weights, device, rounds, batch, pairs, queries, images, count, track=track)
    findings = run_comparisons(wanted, setting, lambda name: typer.echo(f"{COMMAND}: {name}", err=True))
    if out is not None:
        found = {"comparisons": [one.to_dict() for one in findings]}
        write_bench(out, ", ".join(wanted), setting.settings(), found, timings_of(findings))
    table = findings_table(findings)
    if table_file is not None:
        write_tables(table_file, "Speed", "fewshot-eval bench", [table])
    print_table(table.columns, table.rows, names=table.names)
    for note in table.notes:
        typer.echo(note)
