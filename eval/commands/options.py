"""Options that several subcommands share, each under one name: what `--help` says of it is said once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fewshot_seg.errors import ConfigError


class Hint(StrEnum):
    """What is told of where an object is."""

    mask = "mask"
    box = "box"
    point = "point"
    points = "points"
    scribble = "scribble"


SplitList = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Lines ID__CC; without it, every class of every mask.", show_default=False),
]
SupportHint = Annotated[
    Hint | None,
    typer.Option(help="What the segmenter is told of each support, made from its mask.", show_default="nothing"),
]
SupportMasks = Annotated[bool, typer.Option("--support-masks", help="The same as --support-hint mask.")]
QueryHint = Annotated[
    Hint | None,
    typer.Option(help="What the segmenter is told of each query, made from its mask.", show_default="nothing"),
]
MatcherChoice = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="auto: for a fold of pascal5i the one trained without its classes (fold0 to fold3), else the default; "
        "none; or a name or file.",
    ),
]
Weights = Annotated[
    str, typer.Option("--weights", "-w", help="A name from 'fewshot-seg models', or a checkpoint file.")
]
Device = Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Episodes at a time; the results are the same.", show_default="processors, up to 8"),
]
SkipSmallClasses = Annotated[
    bool,
    typer.Option("--skip-small-classes", help="Leave out classes with too few images, instead of refusing."),
]
Boundary = Annotated[bool, typer.Option("--boundary", help="Boundary F too, within 0.75 % of the diagonal.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same episodes and results.")]
RootNow = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The data's folder now.", show_default="where it was for the run"),
]
SplitListNow = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The split list now.", show_default="where it was for the run"),
]
FinishedRun = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.", show_default=False)]
RunFolder = Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run; created if need be.")]
SeveralWeights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights", "-w", help="A name or a checkpoint file. May be repeated: side by side.", show_default="default"
    ),
]
ImageWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="Images at a time; the results are the same.", show_default="processors, up to 8"),
]
Resamples = Annotated[int, typer.Option(min=0, metavar="N", help="Resamples for intervals; 0: none.")]
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
RoundsInTurns = Annotated[int, typer.Option(min=1, help="How often the two are timed in turns.")]
AloneToo = Annotated[bool, typer.Option("--memory/--no-memory", help="Whether each runs in a process of its own, too.")]
AskingVectors = Annotated[int, typer.Option(min=1, help="Vectors that ask.")]
VectorLength = Annotated[int, typer.Option(min=1, help="Numbers of a vector.")]
VectorSeed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the vectors.")]


def hint_name(hint: Hint | None, masks: bool = False) -> str | None:
    """A hint's name, of an option and of the older flag that is short for one of its values.

    Raises:
        ConfigError: they contradict each other.
    """
    if masks and hint not in (None, Hint.mask):
        raise ConfigError(f"--support-masks and --support-hint {hint}: give one of them")
    return Hint.mask.value if masks else None if hint is None else hint.value
