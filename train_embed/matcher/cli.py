"""The command `train-embed matcher`: parse, call, print."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped
from fewshot_seg.errors import ConfigError
from train_embed.matcher.options import MatcherTraining, Settings, parse_sources

EPILOG = examples(
    "train-embed matcher --data voc=VOC2012 --data masks=coco128 --cache views.bin --out matcher.safetensors",
    "train-embed matcher --data voc=VOC2012 --hold-out 0 --validate --out fold0.safetensors",
    "fewshot-seg segment query.jpg --support cow=a.jpg --matcher matcher.safetensors --out result",
)


Force = Annotated[bool, typer.Option("--force", help="Replace an older file.")]


@grouped
def matcher(
    data: Annotated[
        list[str], typer.Option(metavar="KIND=DIR", help="Images with masks: voc, masks, folder. Once or more.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.safetensors", help="The matcher.")],
    hold_out: Annotated[
        str, typer.Option(metavar="0|1|2|3|none", help="A fold of PASCAL-5i whose classes are not learnt.")
    ] = "none",
    *,
    settings: Settings,
    cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the features here, for other trainings; else in memory.")
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Then find the held-out classes, and print how well.")
    ] = False,
    force: Force = False,
) -> None:
    """Train the matcher, which finds in a query what its supports have in common.

    The backbone stays as it is: its features of all views are made once. Started again after an interruption, the
    same command goes on where it was.
    """
    if out.suffix != ".safetensors":
        raise ConfigError(f"a matcher's name must end in .safetensors, got {out}")
    refuse_existing(out, force)
    if cache is not None and cache.resolve() in (out.resolve(), out.with_name(out.name + ".state").resolve()):
        raise ConfigError(f"--cache {cache} is where the matcher or its state goes: choose another file")
    options = MatcherTraining(sources=parse_sources(data), hold_out=_fold(hold_out), **asdict(settings))
    if validate and options.hold_out is None:
        raise ConfigError("--validate needs classes that are held out: --hold-out 0, 1, 2 or 3")
    _run(options, out, cache, validate)


def refuse_existing(out: Path, force: bool) -> None:
    """Keeps an older result unless its user wants it replaced. ConfigError: it is there."""
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already: choose another --out, or --force to replace it")


def _run(options: MatcherTraining, out: Path, cache: Path | None, check: bool) -> None:
    from fewshot_seg.commands.console import print_table, tracked
    from fewshot_seg.imaging.export import make_folder, remove_leftovers
    from fewshot_seg.locks import sole_user
    from fewshot_seg.matching.files import load_matcher
    from train_embed.matcher.data import prepare
    from train_embed.matcher.trainer import train_matcher
    from train_embed.matcher.validation import validate
    from train_embed.run.setup import seeded

    with sole_user(make_folder(out.parent)):
        remove_leftovers(out.parent)  # of a killed training
        data = prepare(options, cache, lambda items, total, what: tracked(items, total, what, command="train-embed"))
        train_matcher(options, data, out)
    print(f"{out}: trained on {len(data.gallery.pictures)} images")
    if check:
        trained = load_matcher(out).to(data.embedder.device)
        with seeded(options.seed, options.threads, data.embedder.device):
            found = validate(trained, data)
        rows = []
        for row in found:
            classes = " ".join(f"{name} {value:.0f}" for name, value in row.per_class.items())
            rows.append((row.source, str(row.setting), str(row.episodes), f"{row.miou:.1f}", classes))
        print_table(("data", "given", "episodes", "mIoU", "classes"), rows)


def _fold(text: str) -> int | None:
    if text == "none":
        return None
    if text not in ("0", "1", "2", "3"):
        raise ConfigError(f"--hold-out takes 0, 1, 2, 3 or none, got {text!r}")
    return int(text)
