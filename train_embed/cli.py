"""The command `train-embed`: parse, call, print."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fewshot_seg.commands.entry import examples, make_app
from fewshot_seg.errors import ConfigError, FewShotError
from train_embed.matcher.cli import EPILOG as MATCHER_EPILOG
from train_embed.matcher.cli import Force, matcher, refuse_existing

app = make_app("train-embed", "Make the embedding that fewshot-seg segments with.")


Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change one setting; VALUE is YAML. As often as you like, the last counts.",
    ),
]

Checkpoint = Annotated[Path, typer.Option("--out", "-o", metavar="FILE.safetensors", help="The checkpoint.")]
Pooling = Literal["avg", "max", "avg+max", "gem"]
Neck = Literal["none", "linear", "bn", "linear+bn"]


def _config(text: str) -> Any:
    return typer.Option("--config", "-c", metavar="NAME|FILE.yaml", help=text)


@app.command(
    epilog=examples(
        "train-embed run --config folder-quick --set data.root=photos --out runs/first",
        "train-embed run --config paper-triplet --set data.root=CUB_200_2011 --set run.device=cuda --out runs/cub",
        "train-embed run --config my.yaml --set mining.gamma=0.5 --set optimizer.trunk_lr=1e-5 --out runs/second",
        "train-embed run --out runs/first --resume",
        "torchrun --nproc-per-node 2 -m train_embed run --config paper-reid --set data.root=Market-1501 --out "
        "runs/reid",
    )
)
def run(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="The run's folder.")],
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="NAME|FILE.yaml",
            help="A preset (see train-embed presets) or a YAML file. With --resume: the run's own, if left out.",
        ),
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN where it stopped.")] = False,
) -> None:
    """Train an embedding. Everything is checked before the first image is read."""
    from train_embed.config.load import load_config

    if config is None and not resume:
        raise ConfigError("--config is missing: name a preset (train-embed presets lists them) or a YAML file")
    chosen = load_config(config if config is not None else out / "config.yaml", overrides or [])

    from train_embed.run.curves import summary
    from train_embed.run.trainer import train

    folder = train(chosen, out, resume=resume)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts this once for each process
        print(summary(folder, chosen.run.keep))


@app.command(
    epilog=examples(
        "train-embed presets", "train-embed presets folder-quick > my.yaml", "train-embed presets folder-quick --full"
    )
)
def presets(
    name: Annotated[str | None, typer.Argument(help="Print this preset's YAML.")] = None,
    full: Annotated[bool, typer.Option("--full", help="With NAME: every key there is, defaults too.")] = False,
) -> None:
    """List the ready configurations, or print one as a start for your own."""
    from fewshot_seg.commands.console import print_table
    from train_embed.config.load import load_config, preset_names, preset_text, to_yaml

    if name is not None:
        text = preset_text(name)
        print(to_yaml(load_config(name)) if full else text, end="")
        return
    rows = [(preset, preset_text(preset).partition("\n")[0].lstrip("# ")) for preset in preset_names()]
    print_table(("preset", "what for"), rows)


@app.command(
    epilog=examples(
        "train-embed export runs/first -o birds.safetensors",
        "fewshot-seg segment query.jpg --support bird=a.jpg --weights birds.safetensors --out result",
    )
)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")], out: Checkpoint, force: Force = False
) -> None:
    """Write a run's best weights as a checkpoint for everything that takes --weights, its configuration inside."""
    refuse_existing(out, force)

    from train_embed.run.trainer import export as export_run

    export_run(run, out)
    print(f"{out}: the best weights of {run}")


@app.command(
    epilog=examples(
        "train-embed ablation --root photos --out ablation",
        "train-embed ablation --root photos --out ablation --seeds 0,1,2,3,4 --set run.epochs=10 --set "
        "mining.gamma=0.5",
        "train-embed ablation --root people --out reid --config reid-quick --own-loss",
    )
)
def ablation(
    root: Annotated[Path, typer.Option(metavar="DIR", help="The images: data.root.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The runs, table.md and table.json.")],
    seeds: Annotated[str, typer.Option(metavar="N,N,...", help="One run of everything for each.")] = "0,1,2",
    config: Annotated[str, _config("What all runs share.")] = "folder-quick",
    overrides: Overrides = None,
    own_loss: Annotated[
        bool, typer.Option("--own-loss", help="The config's own loss alone, not the paper's three.")
    ] = False,
) -> None:
    """Train with and without mining, for the paper's three losses, and set the figures beside its Table 1.

    Siamese, triplet and quadruplet, each with and without mining, are trained once for each seed; with --own-loss
    what the config says. Where the data knows cameras, R@1 and mAP are by re-identification's rules.

    Started again with the same options, it keeps what is finished and goes on with the rest.
    """
    from train_embed.studies.ablation import run_ablation

    failed = run_ablation(root, out, seeds=_seeds(seeds), config=config, overrides=overrides or [], own_loss=own_loss)
    print((out / "table.md").read_text("utf-8"), end="")
    if failed:
        raise FewShotError(f"{len(failed)} of the runs failed: {'; '.join(failed)}")


@app.command(
    epilog=examples(
        "train-embed bench", "train-embed bench --config paper-triplet --set model.weights=random --set run.device=cuda"
    )
)
def bench(
    config: Annotated[str, _config("Its network, loss and batch.")] = "folder-quick",
    overrides: Overrides = None,
    rounds: Annotated[int, typer.Option(min=1, help="Steps of each kind.")] = 7,
) -> None:
    """Time a training step with and without mining, side by side, on random images."""
    from fewshot_seg.commands.console import print_table
    from train_embed.studies.bench import step_costs

    costs = step_costs(config, ["data.root=.", *(overrides or [])], rounds)
    rows = [(c.variant, f"{c.seconds:.2f}", f"{c.ratio:.2f}", f"{c.memory:.2f}") for c in costs]
    print_table(("step", "seconds", "times without", "peak GiB"), rows, names=1)


@app.command(
    "import-weights",
    epilog=examples(
        "train-embed import-weights resnet50.pth --backbone resnet50 --map fc.=classifier. --out new.safetensors",
        "train-embed import-weights a.pth -b resnet50 --map fc.=head.linear. --neck linear -o b.safetensors",
        "train-embed import-weights a.pth -b timm/resnet18 --drop fc. --map pool.=head. --pooling gem -o b.safetensors",
    ),
)
def import_weights(
    state: Annotated[Path, typer.Argument(metavar="STATE.pth", help="A state dict that torch.save wrote.")],
    backbone: Annotated[str, typer.Option("--backbone", "-b", help="resnet50, torchvision/NAME or timm/NAME.")],
    out: Checkpoint,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="Change the beginning OLD of a tensor's name to NEW: head.linear., head.bn., classifier. or "
            "what the backbone's library calls it. The longest that fits a name counts.",
        ),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="PREFIX", help="Leave these tensors out.")] = None,
    pooling: Annotated[Pooling, typer.Option(help="How the feature map becomes one vector.")] = "avg",
    neck: Annotated[Neck, typer.Option(help="What stands behind the pooling.")] = "none",
    size: Annotated[int, typer.Option(min=32, max=4096, help="Pixels a side that images are brought to.")] = 384,
    force: Force = False,
) -> None:
    """Turn a PyTorch state dict into a checkpoint that fewshot-seg opens. Code in the file is never run."""
    from fewshot_seg.network.embedding import save_checkpoint
    from train_embed.run.legacy import import_weights as load

    refuse_existing(out, force)
    prefixes = _prefixes(names or [], drop or [])
    embedder = load(state, backbone, pooling=pooling, neck=None if neck == "none" else neck, size=size, names=prefixes)
    save_checkpoint(embedder, out, training={"imported_from": state.name})
    print(f"{out}: {embedder.spec.backbone}, {pooling} pooling, {embedder.dim} dimensions")


app.command(epilog=MATCHER_EPILOG)(matcher)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--seeds takes whole numbers with commas between them, got {text!r}") from error
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"--seeds must differ and be 0 or more, got {text!r}")
    return seeds


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
