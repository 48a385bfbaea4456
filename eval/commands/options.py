"""Options that several subcommands share, each under one name: what `--help` says of it is said once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fewshot_seg.errors import ConfigError

Dataset = Literal["pascal5i", "coco20i", "masks", "folder"]
Fold = Literal["0", "1", "2", "3", "all"]
SeveralFolds = StrEnum("SeveralFolds", ["0", "1", "2", "3", "all"])  # what may be repeated can't be a Literal
Hint = Literal["mask", "box", "point", "points", "scribble"]
# fmt: off
HintOf = StrEnum("HintOf", [
    "support-mask", "support-box", "support-point", "support-points", "support-scribble", "query-box", "query-point",
    "query-points", "query-scribble",
])
# fmt: on

SplitList = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Lines ID__CC; without it, every class of every mask.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse data of which something has to be left out or brought to another size.")
]
Weights = Annotated[
    str, typer.Option("--weights", "-w", help="A name from 'fewshot-seg models', or a checkpoint file.")
]
Device = Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")]
CacheMemory = Annotated[int, typer.Option(min=0, metavar="MIB", help="Memory for what the network has said of images.")]
Boundary = Annotated[bool, typer.Option("--boundary", help="Boundary F too, within 0.75 % of the diagonal.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same episodes and results.")]
RootNow = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The data's folder now.", show_default="where it was for the run")
]
SplitListNow = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The split list now.", show_default="where it was for the run")
]
FinishedRun = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
RunFolder = Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run; created if need be.")]
QueryResamples = Annotated[
    int, typer.Option(min=0, metavar="N", help="Resamples of the query images for intervals; 0: none.")
]
PairedResamples = Annotated[
    int, typer.Option(min=0, metavar="N", help="Resamples for intervals and p-values; 0: none.")
]
MakeReport = Annotated[bool, typer.Option("--report/--no-report", help="Write RUN/report.html at the end.")]
Ways = Annotated[int, typer.Option(min=1, help="Classes of an episode.")]
Shots = Annotated[int, typer.Option(min=1, help="Supports of each class.")]
BenchFile = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Figures and machine, as JSON.")]
RoundsEach = Annotated[int, typer.Option(min=1, help="How often each is timed.")]


_GIVEN = "What the segmenter is told of each {whose}, made from its mask."
_MATCHER = (
    "auto: for a fold of pascal5i the one trained without its classes (fold0 to fold3), else the default; none; or a "
    "name or file."
)


@dataclass(frozen=True)
class Data:
    """Which data."""

    root: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="The data's folder. VOC: with JPEGImages, SegmentationClass; COCO: with annotations, or a json file; "
            "masks: images, masks, classes.json; folder: one for each class, with images and NAME_mask.png.",
        ),
    ]
    dataset: Annotated[Dataset, typer.Option(help="The kind of data set.")] = "pascal5i"
    split_list: SplitList = None
    strict: Strict = False

    def inputs(self) -> list[Path]:
        """Files and folders that are read."""
        return [self.root] if self.split_list is None else [self.root, self.split_list]

    def settings(self) -> dict[str, Any]:
        """As fields of a `SegmentationTask`."""
        named = {"root": self.root, "dataset": self.dataset, "split_list": self.split_list}
        return named | {"strict": self.strict}


@dataclass(frozen=True)
class Drawing:
    """How episodes are drawn."""

    way: Ways = 1
    shot: Shots = 1
    protocol: Annotated[
        Literal["hsnet", "pfenet", "panet", "native"],
        typer.Option(help="How episodes are drawn: as in HSNet's, PFENet's or PANet's code; native: all pairs."),
    ] = "hsnet"


@dataclass(frozen=True)
class Network:
    """What segments, and how many episodes at a time."""

    matcher: Annotated[str, typer.Option(metavar="NAME|FILE", help=_MATCHER)] = "auto"
    weights: Weights = "default"
    device: Device = "auto"
    skip_small_classes: Annotated[
        bool, typer.Option("--skip-small-classes", help="Leave out classes with too few images, instead of refusing.")
    ] = False
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Episodes at a time; the results are the same.", show_default="processors, up to 8"),
    ] = None
    cache_memory: CacheMemory = 1024

    def settings(self) -> dict[str, Any]:
        """As fields of a `SegmentationTask`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Search:
    """What retrieval and re-identification are measured with, and where the figures go."""

    out: RunFolder
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            "-w",
            help="A name or a checkpoint file. May be repeated: side by side.",
            show_default="default",
        ),
    ] = None
    device: Device = "auto"
    size: Annotated[
        int | None,
        typer.Option(min=32, max=4096, help="Pixels a side of the images.", show_default="256, or as trained"),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Images at a time; the results are the same.", show_default="processors, up to 8"),
    ] = None
    bootstrap: Annotated[int, typer.Option(min=0, metavar="N", help="Resamples for intervals; 0: none.")] = 1000
    report: MakeReport = True

    def settings(self) -> dict[str, Any]:
        """As fields of a `SearchTask`."""
        given = {name: getattr(self, name) for name in ("out", "device", "size", "workers")}
        return given | {"weights": tuple(self.weights or ["default"]), "samples": self.bootstrap}


@dataclass(frozen=True)
class Hints:
    """What is told of supports and queries."""

    support_hint: Annotated[Hint | None, typer.Option(help=_GIVEN.format(whose="support"), show_default="nothing")] = (
        None
    )
    support_masks: Annotated[bool, typer.Option("--support-masks", help="The same as --support-hint mask.")] = False
    query_hint: Annotated[Hint | None, typer.Option(help=_GIVEN.format(whose="query"), show_default="nothing")] = None

    def settings(self) -> dict[str, Any]:
        """As fields of a `SegmentationTask`. ConfigError: the two options of supports contradict each other."""
        if self.support_masks and self.support_hint not in (None, "mask"):
            raise ConfigError(f"--support-masks and --support-hint {self.support_hint}: give one of them")
        given = "mask" if self.support_masks else self.support_hint
        return {"support_hint": given, "query_hint": self.query_hint}


def known_methods(names: list[str] | None) -> list[str] | None:
    """The names, each a method's; wrong usage otherwise."""
    if names:
        from eval.episodes.methods import method_names

        if unknown := [name for name in names if name not in method_names()]:
            raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(method_names())}.")
    return names


def methods_option(text: str, default: str) -> Any:
    """`--method NAME`, which may be repeated."""
    return typer.Option("--method", metavar="NAME", callback=known_methods, help=text, show_default=default)


def fold_of(fold: str) -> int | Literal["all"]:
    """The fold as a `SegmentationTask` has it."""
    return "all" if fold == "all" else int(fold)
