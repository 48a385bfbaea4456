"""`fewshot-eval bench growth`: how time and memory grow with the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import track
from eval.commands.options import Device, Weights
from eval.commands.table_files import refuse_file, write_tables
from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.outputs import refuse_foreign

NAMES = ("queries", "classes", "shots", "side", "gallery")

EPILOG = examples(
    "fewshot-eval bench growth --root voc --out docs/growth",
    "fewshot-eval bench growth --only gallery --only side --out growth",
)


def growth(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for growth.json, growth.md and a PNG each.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="queries, classes, shots, side or gallery. May be repeated.", show_default="all"
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images in VOC's layout.", show_default="scikit-image's own")
    ] = None,
    weights: Weights = "default",
    device: Device = "auto",
    most: Annotated[
        int | None, typer.Option(min=1, help="Leave out larger amounts.", show_default="each curve's own")
    ] = None,
) -> None:
    """Time and memory against the number of queries, classes and shots, the image's side, and the gallery of a search.

    Each curve is measured in a process of its own. The order of growth between two amounts is the exponent of the
    power that leads from one time to the other; the work's own order stands under each table.
    """
    from eval.bench.growth import CURVES, draw_growth, growth_tables, measure_growth, to_json
    from eval.bench.setting import Setting
    from eval.bench.timing import write_bench
    from fewshot_seg.errors import ConfigError
    from fewshot_seg.imaging.export import make_folder

    names = list(dict.fromkeys(only or NAMES))
    if unknown := [name for name in names if name not in NAMES]:
        raise ConfigError(f"unknown curve {unknown[0]!r}: choose {', '.join(NAMES)}")
    figures, table_file = out / "growth.json", out / "growth.md"
    for path in (figures, table_file):
        refuse_file(path, [root])
    refuse_foreign([out / f"{name}.png" for name in names], lambda _: figures.exists())
    make_folder(out)
    setting = Setting(root, weights, device, track=track)
    curves = measure_growth(setting, names, most)
    tables = growth_tables(curves)
    settings = {"root": None if root is None else str(root), "weights": weights, "device": device}
    write_bench(figures, "growth", settings, {"curves": to_json(curves)}, [])
    write_tables(table_file, "Growth", "fewshot-eval bench growth", tables)
    for (name, points), table in zip(curves.items(), tables, strict=True):
        draw_growth(out / f"{name}.png", CURVES[name], points)
        typer.echo(table.title)
        print_table(table.columns, table.rows, names=table.names)
        typer.echo(" ".join(table.notes))
