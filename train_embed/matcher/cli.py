"""The command `train-embed matcher`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewshot_seg.errors import ConfigError

if TYPE_CHECKING:
    from train_embed.matcher.options import MatcherTraining

__all__ = ["EPILOG", "matcher"]

EPILOG = """
[bold]Examples[/]

train-embed matcher --data voc=VOC2012 --data masks=coco128 --cache views.bin --out matcher.safetensors

train-embed matcher --data voc=VOC2012 --hold-out 0 --validate --out fold0.safetensors

fewshot-seg segment query.jpg --support cow=a.jpg --matcher matcher.safetensors --out result
"""


def matcher(
    data: Annotated[
        list[str],
        typer.Option(
            metavar="KIND=DIR", help="Images with masks: voc, masks, folder. Once or more.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.safetensors", help="The matcher.", show_default=False)
    ],
    hold_out: Annotated[
        str, typer.Option(metavar="0|1|2|3|none", help="A fold of PASCAL-5i whose classes are not learnt.")
    ] = "none",
    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser.")] = 600,
    presence_steps: Annotated[
        int, typer.Option(min=1, help="Then: whether the object is there at all, learnt over the fixed matcher.")
    ] = 1500,
    batch: Annotated[int, typer.Option(min=2, help="Episodes in a step.")] = 16,
    rate: Annotated[float, typer.Option(help="The learning rate's peak.")] = 3e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    views: Annotated[int, typer.Option(min=1, help="Of each image: whole, mirrored, then random parts.")] = 8,
    absent: Annotated[float, typer.Option(help="Share of episodes whose query shows nothing of the class.")] = 0.0,
    masked: Annotated[float, typer.Option(help="Share of steps in which the supports' masks are given.")] = 0.25,
    several: Annotated[float, typer.Option(help="Share of steps with three supports an episode.")] = 0.25,
    unfamiliar: Annotated[
        float, typer.Option(help="Share of episodes whose class counts as none of the kinds that are told apart.")
    ] = 0.3,
    threads: Annotated[int, typer.Option(min=1, help="Of torch. A result's last bits depend on it.")] = 1,
    weights: Annotated[str, typer.Option(help="The backbone: default, lite0, lite1 or a checkpoint.")] = "default",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...: the same seed, the same bits on cpu alone.")] = "cpu",
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep the features here, for other trainings; else in memory.", show_default=False
        ),
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Then find the held-out classes, and print how well.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an older matcher.")] = False,
) -> None:
    """Train the matcher, which finds in a query what its supports have in common.

    The backbone stays as it is: its features of all views are made once. Started again after an interruption, the
    same command goes on where it was.
    """
    from train_embed.matcher.options import MatcherTraining, parse_sources

    if out.suffix != ".safetensors":
        raise ConfigError(f"a matcher's name must end in .safetensors, got {out}")
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already: choose another --out, or --force to replace it")
    if cache is not None and cache.resolve() in (out.resolve(), out.with_name(out.name + ".state").resolve()):
        raise ConfigError(f"--cache {cache} is where the matcher or its state goes: choose another file")
    options = MatcherTraining(
        parse_sources(data),
        _fold(hold_out),
        steps=steps,
        presence_steps=presence_steps,
        batch=batch,
        seed=seed,
        views=views,
        absent=absent,
        masked=masked,
        several=several,
        unfamiliar=unfamiliar,
        rate=rate,
        weights=weights,
        device=device,
        threads=threads,
    )
    if validate and options.hold_out is None:
        raise ConfigError("--validate needs classes that are held out: --hold-out 0, 1, 2 or 3")
    _run(options, out, cache, validate)


def _run(options: MatcherTraining, out: Path, cache: Path | None, check: bool) -> None:
    from fewshot_seg.commands.console import print_table, tracked
    from fewshot_seg.imaging.export import make_folder
    from fewshot_seg.matching.files import load_matcher
    from train_embed.matcher.ground import prepare
    from train_embed.matcher.trainer import train_matcher
    from train_embed.matcher.validation import validate
    from train_embed.run.setup import seeded

    make_folder(out.parent)
    ground = prepare(options, cache, lambda items, total, what: tracked(items, total, what, command="train-embed"))
    train_matcher(options, ground, out)
    print(f"{out}: trained on {len(ground.gallery.pictures)} images")
    if check:
        trained = load_matcher(out).to(ground.embedder.device)
        with seeded(options.seed, options.threads, ground.embedder.device):
            found = validate(trained, ground)
        rows = [
            (row.source, str(row.setting), str(row.episodes), f"{row.miou:.1f}", _listed(row.per_class))
            for row in found
        ]
        print_table(("data", "given", "episodes", "mIoU", "classes"), rows)


def _listed(per_class: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.0f}" for name, value in per_class.items())


def _fold(text: str) -> int | None:
    if text == "none":
        return None
    if text not in ("0", "1", "2", "3"):
        raise ConfigError(f"--hold-out takes 0, 1, 2, 3 or none, got {text!r}")
    return int(text)
