"""The command `train-embed`: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fewshot_seg.commands.entry import make_app
from fewshot_seg.errors import ConfigError

__all__ = ["app", "main"]

app = make_app("train-embed", "Make the embedding that fewshot-seg segments with.")


class Pooling(StrEnum):
    """How the feature map becomes one vector."""

    avg = "avg"
    max = "max"
    avg_max = "avg+max"
    gem = "gem"


class Neck(StrEnum):
    """What stands between the pooled vector and the embedding."""

    none = "none"
    linear = "linear"
    bn = "bn"
    linear_bn = "linear+bn"


@app.command(
    "import-weights",
    epilog="""
[bold]Examples[/]

train-embed import-weights resnet50.pth --backbone resnet50 --map fc.=classifier. --out new.safetensors

train-embed import-weights a.pth -b resnet50 --map fc.=head.linear. --neck linear -o b.safetensors

train-embed import-weights a.pth -b timm/resnet18 --drop fc. --map pool.=head. --pooling gem -o b.safetensors
""",
)
def import_weights(
    state: Annotated[
        Path,
        typer.Argument(metavar="STATE.pth", help="A state dict that torch.save wrote.", show_default=False),
    ],
    backbone: Annotated[
        str,
        typer.Option("--backbone", "-b", help="resnet50, torchvision/NAME or timm/NAME.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE.safetensors", help="The checkpoint.", show_default=False),
    ],
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="Change the beginning OLD of a tensor's name to NEW: head.linear., head.bn., classifier. or "
            "what the backbone's library calls it. The longest that fits a name counts.",
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="PREFIX", help="Leave these tensors out.", show_default=False),
    ] = None,
    pooling: Annotated[Pooling, typer.Option(help="How the feature map becomes one vector.")] = Pooling.avg,
    neck: Annotated[Neck, typer.Option(help="What stands behind the pooling.")] = Neck.none,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Pixels a side that images are brought to.")] = 384,
    force: Annotated[bool, typer.Option("--force", help="Replace an older checkpoint.")] = False,
) -> None:
    """Turn a PyTorch state dict into a checkpoint that fewshot-seg opens. Code in the file is never run."""
    from fewshot_seg.embedding import save_checkpoint
    from train_embed.legacy import import_weights as load

    if out.exists() and not force:
        raise ConfigError(f"{out} is there already: choose another --out, or --force to replace it")
    embedder = load(
        state,
        backbone,
        pooling=pooling.value,
        neck=None if neck is Neck.none else neck.value,
        size=size,
        names=_prefixes(names or [], drop or []),
    )
    save_checkpoint(embedder, out, training={"imported_from": state.name})
    print(f"{out}: {embedder.spec.backbone}, {pooling.value} pooling, {embedder.dim} dimensions")


def _prefixes(names: Sequence[str], drop: Sequence[str]) -> dict[str, str | None]:
    prefixes: dict[str, str | None] = dict.fromkeys(drop)
    for text in names:
        old, equals, new = text.partition("=")
        if not equals:
            raise ConfigError(f"--map takes OLD=NEW, got {text!r}")
        if old in prefixes:
            raise ConfigError(f"tensors that begin with {old!r} can go to one place only: --map or --drop it once")
        prefixes[old] = new
    return prefixes


def main() -> None:
    """The console script."""
    app()
