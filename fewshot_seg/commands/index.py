"""`fewshot-seg index`: make an index of images and keep it up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fewshot_seg.commands.accelerate import EPILOG as ACCELERATE_EPILOG
from fewshot_seg.commands.accelerate import accelerate
from fewshot_seg.commands.console import print_table, tracked
from fewshot_seg.commands.engine import Device, Engine, Threads, Weights
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped
from fewshot_seg.commands.indexes import IndexInputs, interruptible, open_index, read_inputs, report, waiting

index_app = typer.Typer(
    name="index",
    help="Make an index of images, to be searched by example, and keep it up to date.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The index's folder.")]
Named = Annotated[
    list[str], typer.Argument(metavar="IMAGES", help="Files, folders or globs of the index, there or gone.")
]
OwnWeights = Annotated[
    str | None, typer.Option("--weights", "-w", help="Where the index's own weights are, if they were moved.")
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        min=32,
        max=4096,
        help="Pixels a side at which images are embedded.",
        show_default="256, or as trained",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Given:
    """The images that are given."""

    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGES", help="Image files, folders (searched through) or globs.")
    ] = None
    list_file: Annotated[
        str | None, typer.Option("--list", metavar="FILE", help="A text file of paths, one a line; - is stdin.")
    ] = None
    table: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="A table with a column 'path'; its other columns are kept with the images (id, camera, price, ...).",
        ),
    ] = None

    def read(self) -> IndexInputs:
        """Their paths and columns; see `read_inputs`."""
        return read_inputs(self.images or (), self.list_file, self.table)


@dataclass(frozen=True)
class Reading:
    """How images are read and embedded."""

    device: Device = "auto"
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read images.", show_default="all cores, at most 8")
    ] = None
    batch_size: Annotated[int, typer.Option(min=1, help="Images in the network at a time.")] = 16
    threads: Threads = None

    def options(self, folder: Path) -> dict[str, Any]:
        """As `Index.add` takes them."""
        how = {"workers": self.workers, "batch_size": self.batch_size}
        return {**how, "progress": tracked, "on_wait": waiting(folder)}


@index_app.callback()
def _index() -> None:
    """Make an index of images, to be searched by example, and keep it up to date."""


@index_app.command(
    epilog=examples(
        "fewshot-seg index build photos.index photos/",
        "fewshot-seg index build birds.index --csv birds.csv --weights run/best.safetensors",
        'find . -name "*.jpg" | fewshot-seg index build all.index --list -',
    )
)
@grouped
def build(folder: Folder, given: Given, reading: Reading, weights: Weights = "default", size: Size = None) -> None:
    """Make an index of IMAGES in a new folder DIR. One that was interrupted goes on where it stopped."""
    from fewshot_seg.retrieval.index import Index

    inputs = given.read()
    embedder = Engine(weights, reading.device, threads=reading.threads).embedder()
    how = reading.options(folder)
    with interruptible(folder):
        index = Index.build(inputs.paths, embedder, folder, size=size, columns=inputs.columns, **how)
    report(index)


@index_app.command(epilog=examples('fewshot-seg index add photos.index holiday/ "more/*.png"'))
@grouped
def add(folder: Folder, given: Given, reading: Reading, weights: OwnWeights = None) -> None:
    """Take more images in. Those that the index has already are left as they are, or replaced if they changed."""
    inputs = given.read()
    index = open_index(folder, weights, reading.device, reading.threads)
    with interruptible(folder):
        index.add(inputs.paths, columns=inputs.columns, **reading.options(folder))
    report(index)


@index_app.command(epilog=examples('fewshot-seg index remove photos.index photos/blurred.jpg "photos/old/*"'))
def remove(folder: Folder, images: Named) -> None:
    """Take images out of the index; the files themselves are not touched."""
    index = open_index(folder)
    index.remove(images, on_wait=waiting(folder))
    report(index)


@index_app.command(epilog=examples("fewshot-seg index update photos.index"))
@grouped
def update(folder: Folder, reading: Reading, weights: OwnWeights = None) -> None:
    """Follow the files: take in what is new in the folders, embed what has changed, take out what is gone."""
    index = open_index(folder, weights, reading.device, reading.threads)
    with interruptible(folder):
        index.update(**reading.options(folder))
    report(index)


@index_app.command(epilog=examples("fewshot-seg index rebuild photos.index"))
def rebuild(folder: Folder) -> None:
    """Write the index anew, without what was removed."""
    index = open_index(folder)
    index.rebuild(on_wait=waiting(folder))
    report(index)


@index_app.command(epilog=examples("fewshot-seg index info photos.index --json"))
def info(
    folder: Folder,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything and compare it with its checksums.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is in an index: images, weights, columns, sizes."""
    import json

    from fewshot_seg.retrieval.contents import open_contents, summary

    content = summary(open_contents(folder.absolute(), None if verify else 0))
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    embedder = content.pop("embedder")
    content["weights"] = f"{embedder['source']} ({embedder['backbone']}, {embedder['weights_sha256'][:8]})"
    content["image size"] = embedder["preprocessing"]["size"]
    for name, value in content.items():
        typer.echo(f"{name.replace('_', ' '):<13} {_shown(value)}")


@index_app.command(epilog=examples("fewshot-seg index duplicates photos.index --threshold 0.95"))
def duplicates(
    folder: Folder,
    threshold: Annotated[float, typer.Option(min=-1, max=1, help="Cosine from which two images are alike.")] = 0.98,
    as_json: Json = False,
) -> None:
    """List groups of images that are nearly the same."""
    import json

    from fewshot_seg.retrieval.rows import from_here

    index = open_index(folder)
    paths = index.paths
    groups: list[dict[str, Any]] = [
        {"score": round(group.score, 6), "paths": [from_here(paths[row], index.location(row)) for row in group.rows]}
        for group in index.duplicates(threshold, progress=tracked)
    ]
    if as_json:
        typer.echo(json.dumps(groups, indent=1))
        return
    rows = [(str(n), path, f"{group['score']:.3f}") for n, group in enumerate(groups, 1) for path in group["paths"]]
    print_table(("group", "image", "lowest cosine"), rows, limit=1000)
    typer.echo(f"{len(groups)} groups, {len(rows)} images")


index_app.command(epilog=ACCELERATE_EPILOG)(accelerate)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
