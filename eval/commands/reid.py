"""`fewshot-eval reid`: who is who, across cameras."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eval.commands.common import goes_on, track
from eval.commands.compare import print_tables
from eval.commands.lines import write_report_of
from eval.commands.options import Search
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

if TYPE_CHECKING:
    from eval.reid.scoring import Way

EPILOG = examples(
    "fewshot-eval reid --dataset market --root Market-1501-v15.09.15 --rerank --query-expansion --out runs/market",
    "fewshot-eval reid --dataset vehicleid --root VehicleID_V1.0 --vehicles 2400 -w run/best.safetensors --out "
    "runs/vehicles",
    "fewshot-eval reid --dataset named --root cars --query-camera 1 --gallery-camera 2 --out runs/cars",
    "fewshot-eval reid --dataset csv --root photos/df.csv -w default -w run/best.safetensors --out runs/photos",
)


@dataclass(frozen=True)
class Data:
    """Which images: the fields of a `Choice`."""

    root: Annotated[Path, typer.Option(metavar="DIR", help="The data's folder, as its archive unpacks to.")]
    dataset: Annotated[
        Literal["market", "duke", "cuhk03", "msmt17", "veri", "vehicleid", "csv", "named"],
        typer.Option(help="A published set, a table (path, id, camera), or images whose names tell both."),
    ] = "market"
    boxes: Annotated[
        Literal["detected", "labeled"] | None, typer.Option(help="Of cuhk03.", show_default="detected")
    ] = None
    vehicles: Annotated[
        int | None, typer.Option(help="Of vehicleid: which test list, 800 to 13164.", show_default="800")
    ] = None
    pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Of named: groups id and camera.", show_default="NAME_c1..., NAME_cam1..."),
    ] = None
    split_file: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of csv: the table in the folder.", show_default="df.csv")
    ] = None
    train_classes: Annotated[
        str | None,
        typer.Option(
            metavar="CLASSES",
            help="Of csv and named: the identities to leave out, as training names them: a share (0.5), a number, or "
            "names and patterns by commas.",
            show_default="0.5",
        ),
    ] = None
    query_camera: Annotated[
        str | None, typer.Option(metavar="C", help="Only images of this camera ask.", show_default="all")
    ] = None
    gallery_camera: Annotated[
        str | None, typer.Option(metavar="C", help="Only images of this camera are searched.", show_default="all")
    ] = None
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Take a published set that is not complete, or another in its layout."),
    ] = False


@dataclass(frozen=True)
class Ranking:
    """How lists are made."""

    rerank: Annotated[bool, typer.Option("--rerank", help="Rank by k-reciprocal neighbours, too.")] = False
    k1: Annotated[int, typer.Option(min=1, help="Of re-ranking: reciprocal neighbours.")] = 20
    k2: Annotated[int, typer.Option(min=1, help="Of re-ranking: neighbours that are averaged.")] = 6
    own: Annotated[
        float, typer.Option("--lambda", min=0, max=1, help="Of re-ranking: share of the original distance.")
    ] = 0.3
    query_expansion: Annotated[
        bool, typer.Option("--query-expansion", help="Rank by queries averaged with what they find first, too.")
    ] = False
    expand_by: Annotated[int, typer.Option(min=1, help="Of query expansion: entries that are taken in.")] = 3
    alpha: Annotated[
        float, typer.Option(min=0, help="Of query expansion: power of the similarity as weight; 0: none.")
    ] = 0.0

    def ways(self) -> tuple[Way, ...]:
        """By cosine, and each of what was asked for, alone and together."""
        from eval.reid.scoring import Way
        from fewshot_seg.reid.expansion import ExpansionOptions
        from fewshot_seg.reid.rerank import RerankOptions

        reranking, expansion = RerankOptions(self.k1, self.k2, self.own), ExpansionOptions(self.expand_by, self.alpha)
        ways = [Way(), Way(expansion=expansion), Way(rerank=reranking), Way(rerank=reranking, expansion=expansion)]
        asked = (True, self.query_expansion, self.rerank, self.rerank and self.query_expansion)
        return tuple(way for way, wanted in zip(ways, asked, strict=True) if wanted)


@grouped
def reid(
    data: Data,
    search: Search,
    ranking: Ranking,
    gallery_shot: Annotated[
        Literal["all", "one"] | None,
        typer.Option(help="Search all gallery images, or one drawn of each identity.", show_default="vehicleid: one"),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Draws, with --gallery-shot one.")] = 10,
    same_camera: Annotated[
        Literal["keep", "drop"],
        typer.Option(help="Of the query's own camera: keep other identities, as benchmarks do, or drop everything."),
    ] = "keep",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same draws.")] = 0,
) -> None:
    """Find people or vehicles in other cameras: CMC at 1, 5 and 10, mAP and mINP, beside published figures.

    Writes RUN/config.json, vectors, queries-WEIGHTS.npz, metrics.json, table.md and report.html, which shows the
    images: keep it as private as they are. The same command goes on where an interrupted run stopped; a run of another
    config in the same folder is refused.
    """
    from eval.commands.table_files import write_tables
    from eval.episodes.scoring import read_config
    from eval.reid.data import Choice
    from eval.reid.run import KIND, ReidTask, run_reid
    from eval.reid.scoring import Protocol
    from eval.reid.tables import figures_table, published_table

    classes = None if data.train_classes is None else _classes(data.train_classes)
    choice = Choice(**{**vars(data), "train_classes": classes})
    single = data.dataset == "vehicleid" if gallery_shot is None else gallery_shot == "one"
    protocol = Protocol(single, repeats, seed, cross=same_camera == "drop")
    task = ReidTask(choice, ways=ranking.ways(), protocol=protocol, **search.settings())
    with goes_on():
        metrics = run_reid(task, track)
    config = read_config(task.out, KIND)
    tables = [figures_table(config, metrics), published_table(config, metrics)]
    print_tables(tables)
    write_tables(task.out / "table.md", "Re-identification", str(task.out), tables)
    if search.report:
        typer.echo(f"Report: {write_report_of(reid, task.out, data.root, device=search.device)}")


def _classes(text: str) -> int | float | list[str]:
    """A share, as 0.5, a number of identities, as 40, or names and patterns by commas."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text.split(",")
