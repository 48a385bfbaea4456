"""`fewshot-eval reid`: who is who, across cameras."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eval.commands.common import COMMAND, goes_on
from eval.commands.lines import write_report_of
from eval.commands.options import Device, ImageSize, ImageWorkers, MakeReport, Resamples, RunFolder, SeveralWeights
from fewshot_seg.commands.console import tracked

if TYPE_CHECKING:
    from eval.reid.scoring import Protocol, Way

EPILOG = r"""
[bold]Examples[/]

fewshot-eval reid --dataset market --root Market-1501-v15.09.15 --rerank --query-expansion --out runs/market

fewshot-eval reid --dataset vehicleid --root VehicleID_V1.0 --vehicles 2400 -w run/best.safetensors --out runs/vehicles

fewshot-eval reid --dataset named --root cars --query-camera 1 --gallery-camera 2 --out runs/cars

fewshot-eval reid --dataset csv --root photos/df.csv -w default -w run/best.safetensors --out runs/photos
"""


DataSet = Annotated[
    Literal["market", "duke", "cuhk03", "msmt17", "veri", "vehicleid", "csv", "named"],
    typer.Option(help="A published set, a table (path, id, camera), or images whose names tell both."),
]
Vehicles = Annotated[int | None, typer.Option(help="Of vehicleid: which test list, 800 to 13164.", show_default="800")]
Pattern = Annotated[
    str | None,
    typer.Option(metavar="REGEX", help="Of named: groups id and camera.", show_default="NAME_c1..., NAME_cam1..."),
]
SplitFile = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of csv: the table in the folder.", show_default="df.csv")
]
TrainClasses = Annotated[
    str | None,
    typer.Option(
        metavar="CLASSES",
        help="Of csv and named: the identities to leave out, as training names them: a share (0.5), a number, or "
        "names and patterns by commas.",
        show_default="0.5",
    ),
]
QueryCamera = Annotated[
    str | None, typer.Option(metavar="C", help="Only images of this camera ask.", show_default="all")
]
GalleryCamera = Annotated[
    str | None, typer.Option(metavar="C", help="Only images of this camera are searched.", show_default="all")
]
OwnShare = Annotated[
    float, typer.Option("--lambda", min=0, max=1, help="Of re-ranking: share of the original distance.")
]
QueryExpansion = Annotated[
    bool, typer.Option("--query-expansion", help="Rank by queries averaged with what they find first, too.")
]
Alpha = Annotated[float, typer.Option(min=0, help="Of query expansion: power of the similarity as weight; 0: none.")]
GalleryShot = Annotated[
    Literal["all", "one"] | None,
    typer.Option(help="Search all gallery images, or one drawn of each identity.", show_default="vehicleid: one"),
]
CameraRule = Annotated[
    Literal["keep", "drop"],
    typer.Option(help="Of the query's own camera: keep other identities, as benchmarks do, or drop everything."),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Take a published set that is not complete, or another in its layout.")
]


def reid(
    root: Annotated[Path, typer.Option(metavar="DIR", help="The data's folder, as its archive unpacks to.")],
    out: RunFolder,
    dataset: DataSet = "market",
    boxes: Annotated[
        Literal["detected", "labeled"] | None, typer.Option(help="Of cuhk03.", show_default="detected")
    ] = None,
    vehicles: Vehicles = None,
    pattern: Pattern = None,
    split_file: SplitFile = None,
    train_classes: TrainClasses = None,
    query_camera: QueryCamera = None,
    gallery_camera: GalleryCamera = None,
    weights: SeveralWeights = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Rank by k-reciprocal neighbours, too.")] = False,
    k1: Annotated[int, typer.Option(min=1, help="Of re-ranking: reciprocal neighbours.")] = 20,
    k2: Annotated[int, typer.Option(min=1, help="Of re-ranking: neighbours that are averaged.")] = 6,
    own: OwnShare = 0.3,
    query_expansion: QueryExpansion = False,
    expand_by: Annotated[int, typer.Option(min=1, help="Of query expansion: entries that are taken in.")] = 3,
    alpha: Alpha = 0.0,
    gallery_shot: GalleryShot = None,
    repeats: Annotated[int, typer.Option(min=1, help="Draws, with --gallery-shot one.")] = 10,
    same_camera: CameraRule = "keep",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same draws.")] = 0,
    device: Device = "auto",
    size: ImageSize = None,
    workers: ImageWorkers = None,
    allow_missing: AllowMissing = False,
    bootstrap: Resamples = 1000,
    report: MakeReport = True,
) -> None:
    """Find people or vehicles in other cameras: CMC at 1, 5 and 10, mAP and mINP, beside published figures.

    Writes RUN/config.json, vectors, queries-WEIGHTS.npz, metrics.json, table.md and report.html, which shows the
    images: keep it as private as they are. The same command goes on where an interrupted run stopped; a run of another
    config in the same folder is refused.
    """
    from eval.commands.compare import print_tables, write_tables
    from eval.episodes.scoring import read_config
    from eval.reid.data import Choice
    from eval.reid.run import KIND, ReidTask, run_reid
    from eval.reid.tables import figures_table, published_table

    choice = Choice(
        dataset,
        root,
        boxes=boxes,
        vehicles=vehicles,
        pattern=pattern,
        split_file=split_file,
        train_classes=None if train_classes is None else _classes(train_classes),
        query_camera=query_camera,
        gallery_camera=gallery_camera,
        allow_missing=allow_missing,
    )
    task = ReidTask(
        choice,
        out,
        ways=_ways(rerank, k1, k2, own, query_expansion, expand_by, alpha),
        protocol=_protocol(dataset, gallery_shot, repeats, seed, same_camera),
        weights=tuple(weights or ["default"]),
        device=device,
        size=size,
        workers=workers,
        samples=bootstrap,
    )
    with goes_on():
        metrics = run_reid(task, partial(tracked, command=COMMAND))
    config = read_config(out, KIND)
    tables = [figures_table(config, metrics), published_table(config, metrics)]
    print_tables(tables)
    write_tables(out / "table.md", "Re-identification", str(out), tables)
    if report:
        typer.echo(f"Report: {write_report_of(reid, out, root, device=device)}")


def _ways(
    rerank: bool, k1: int, k2: int, own: float, query_expansion: bool, expand_by: int, alpha: float
) -> tuple[Way, ...]:
    """By cosine, and each of what was asked for, alone and together."""
    from eval.reid.scoring import Way
    from fewshot_seg.reid.expansion import ExpansionOptions
    from fewshot_seg.reid.rerank import RerankOptions

    reranking, expansion = RerankOptions(k1, k2, own), ExpansionOptions(expand_by, alpha)
    ways = [Way()]
    if query_expansion:
        ways.append(Way(expansion=expansion))
    if rerank:
        ways.append(Way(rerank=reranking))
    if rerank and query_expansion:
        ways.append(Way(rerank=reranking, expansion=expansion))
    return tuple(ways)


def _protocol(dataset: str, shot: str | None, repeats: int, seed: int, same: str) -> Protocol:
    from eval.reid.scoring import Protocol

    single = dataset == "vehicleid" if shot is None else shot == "one"
    return Protocol(single, repeats, seed, cross=same == "drop")


def _classes(text: str) -> int | float | list[str]:
    """A share, as 0.5, a number of identities, as 40, or names and patterns by commas."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text.split(",")
