"""`fewshot-seg models`: the names that `--weights` takes, and fetching ahead of time."""

from __future__ import annotations

from typing import Annotated

import typer

from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.entry import examples

models_app = typer.Typer(name="models", rich_markup_mode="rich")

COLUMNS = ("name", "backbone", "here", "million", "stride", "licence", "MB", "good for", "weights")


def model_rows() -> list[tuple[str, ...]]:
    """One row per model: see `COLUMNS`; parameters in millions, the map's stride in pixels, the download's size."""
    from fewshot_seg.network.embedding import models

    return [
        (
            model.name,
            model.backbone,
            "yes" if model.present else "no",
            f"{model.facts.parameters:.1f}",
            str(model.facts.stride),
            model.facts.licence,
            f"{model.size / 1e6:.0f}",
            model.facts.use,
            model.note or model.source,
        )
        for model in models()
    ]


@models_app.callback(
    invoke_without_command=True, epilog=examples("fewshot-seg models", "fewshot-seg models get dinov2-small")
)
def models(context: typer.Context) -> None:
    """List recommended names for --weights (any of timm's and torchvision's will do), and what is here of them."""
    if context.invoked_subcommand is None:
        print_table(COLUMNS, model_rows())


@models_app.command()
def get(name: Annotated[str, typer.Argument(metavar="NAME", help="What --weights takes.")]) -> None:
    """Fetch a model's weights now, and check that they fit: afterwards no network is needed."""
    from fewshot_seg.network.embedding import load_embedder

    embedder = load_embedder(name, device="cpu")
    count = sum(one.numel() for one in embedder.trunk.parameters())
    typer.echo(f"{name}: {embedder.spec.backbone}, {count / 1e6:.1f} million parameters, complete")
