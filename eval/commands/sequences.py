"""`fewshot-eval sequences`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import track
from eval.commands.table_files import refuse_file
from eval.tables.table import percent
from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.engine import Engine
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped
from fewshot_seg.commands.way import Meaning, Quality, Way

EPILOG = examples(
    "fewshot-eval sequences --root DAVIS --out davis.json",
    'fewshot-eval sequences --root DAVIS --every 4 --setting "mask, in order" --quality best --out davis-best.json',
)

Setting = StrEnum("Setting", ["mask, frame by frame", "mask, in order", "no mask, frame by frame", "no mask, in order"])
"""What is given and whether frames are followed."""


@grouped
def sequences(
    root: Annotated[Path, typer.Option(metavar="DIR", help="JPEGImages/[480p/]NAME, Annotations/[480p/]NAME.")],
    engine: Engine,
    setting: Annotated[list[Setting] | None, typer.Option(help="May be repeated.", show_default="all of them")] = None,
    meaning: Annotated[Meaning, typer.Option(help="As for 'fewshot-seg segment'.")] = "auto",
    quality: Annotated[Quality, typer.Option("--quality", "-q", help="As for 'fewshot-seg segment'.")] = "default",
    every: Annotated[int, typer.Option(min=1, help="Only every n-th frame.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Figures, as JSON.")] = None,
) -> None:
    """The first frame of each sequence as the example, the others as queries: DAVIS's mean J, in per cent.

    "In order" is what 'fewshot-seg segment --sequence' does: what was found in earlier frames helps.
    """
    from eval.studies.sequences import SETTINGS, find_sequences, measure_sequences, to_json
    from fewshot_seg.imaging.export import write_json

    refuse_file(out, [root])
    names = list(map(str, setting or SETTINGS))
    way = Way(quality=quality, meaning=meaning)
    found = measure_sequences(engine.segmenter(way), find_sequences(root, every), names, track)
    task = {"root": str(root), "every": every, "weights": engine.weights, "quality": quality, "meaning": meaning}
    content = to_json(found, task)
    rows = {name: [found[one][name] for one in names] for name in found[names[0]]}
    rows["mean"] = [content["mean"][one] for one in names]
    print_table(("sequence", *names), [(name, *map(percent, row)) for name, row in rows.items()], names=1)
    if out is not None:
        write_json(out, content)
        typer.echo(f"As JSON: {out}")
