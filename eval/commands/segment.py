"""`fewshot-eval segment`: segment episodes and score them."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import COMMAND
from eval.commands.figures import print_metrics
from eval.commands.lines import write_report_of
from eval.commands.options import (
    Boundary,
    Device,
    MakeReport,
    MatcherChoice,
    QueryHint,
    QueryResamples,
    RunFolder,
    Shots,
    SkipSmallClasses,
    SplitList,
    SupportHint,
    SupportMasks,
    Ways,
    Weights,
    Workers,
    hint_name,
)
from fewshot_seg.commands.console import complain, tracked

__all__ = ["EPILOG", "Method", "segment"]

EPILOG = """
[bold]Examples[/]

fewshot-eval segment --root VOC2012 --split-list fold0.txt --fold 0 --out runs/fold0

fewshot-eval segment --root voc --fold all --episodes 200 --method ours --method centre-box --out runs/dev
"""


class Dataset(StrEnum):
    """The data sets' names."""

    pascal5i = "pascal5i"
    coco20i = "coco20i"
    masks = "masks"
    folder = "folder"


class Fold(StrEnum):
    """The classes of an episode."""

    zero = "0"
    one = "1"
    two = "2"
    three = "3"
    all = "all"


class Protocol(StrEnum):
    """How episodes are drawn."""

    hsnet = "hsnet"
    pfenet = "pfenet"
    panet = "panet"
    native = "native"


class Method(StrEnum):
    """What is compared."""

    ours = "ours"
    no_grabcut = "no-grabcut"
    random_walk = "random-walk"
    keep_all = "keep-all"
    one_round = "one-round"
    no_rivals = "no-rivals"
    presence_check = "presence-check"
    no_presence_check = "no-presence-check"
    correspondence = "correspondence"
    attention = "attention"
    contributions = "contributions"
    class_evidence = "class-evidence"
    grad_cam = "grad-cam"
    paper = "paper"
    paper_letter = "paper-letter"
    support_mask = "support-mask"
    support_box = "support-box"
    support_point = "support-point"
    support_points = "support-points"
    support_scribble = "support-scribble"
    query_box = "query-box"
    query_point = "query-point"
    query_points = "query-points"
    query_scribble = "query-scribble"
    all_foreground = "all-foreground"
    centre_box = "centre-box"


def segment(
    root: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="The data's folder. VOC: with JPEGImages, SegmentationClass; COCO: with annotations, or a json file; "
            "masks: images, masks, classes.json; folder: one for each class, with images and NAME_mask.png.",
        ),
    ],
    out: RunFolder,
    dataset: Annotated[Dataset, typer.Option(help="The kind of data set.")] = Dataset.pascal5i,
    split_list: SplitList = None,
    fold: Annotated[Fold, typer.Option(help="The classes to test; all is for development.")] = Fold.zero,
    way: Ways = 1,
    shot: Shots = 1,
    protocol: Annotated[
        Protocol,
        typer.Option(help="How episodes are drawn: as in HSNet's, PFENet's or PANet's code; native: all pairs."),
    ] = Protocol.hsnet,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help="How many episodes.", show_default="the protocol's: 1000, 5000, 5000, all pairs"),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**31 - 1,
            help="Same seed, same episodes and results.",
            show_default="the protocol's: 0, 321, 1234, 0",
        ),
    ] = None,
    episodes_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Replay these episodes: an episodes.jsonl, or lines QUERY | CLASS SUPPORT ...",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        list[Method] | None,
        typer.Option(
            help="May be repeated: every method gets the same episodes. Parts switched off or changed: no-grabcut, "
            "random-walk, keep-all, "
            "one-round, no-rivals, no-presence-check; other ways: correspondence, attention, contributions, "
            "class-evidence, grad-cam, paper, paper-letter; with a hint: support-mask, query-box and so on; blind: "
            "all-foreground, centre-box.",
            show_default="ours",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="OPTION=VALUE",
            help="An option of the segmenter, as seeds.background=0.2. May be repeated.",
        ),
    ] = None,
    support_hint: SupportHint = None,
    support_masks: SupportMasks = False,
    query_hint: QueryHint = None,
    matcher: MatcherChoice = "auto",
    weights: Weights = "default",
    device: Device = "auto",
    absent: Annotated[
        bool,
        typer.Option(
            "--absent",
            help="After each episode one with a query that shows none of its classes; objects may then count as "
            "absent. AUROC of the scores is in metrics.json.",
        ),
    ] = False,
    skip_small_classes: SkipSmallClasses = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out images that are listed but not there, and say how many.")
    ] = False,
    workers: Workers = None,
    cache_memory: Annotated[
        int, typer.Option(min=0, metavar="MIB", help="Memory for what the network has said of images.")
    ] = 1024,
    boundary: Boundary = False,
    bootstrap: QueryResamples = 1000,
    report: MakeReport = True,
) -> None:
    """Segment episodes and score them: class mean IoU, FB-IoU, binary IoU, per class.

    Writes RUN/config.json, episodes.jsonl, predictions.jsonl (COCO RLE), metrics.json and report.html. The same command
    goes on where an interrupted run stopped; a run of another config in the same folder is refused.
    Under torchrun the processes share the episodes, and end in the same numbers:
    torchrun --nproc-per-node 2 -m eval segment ...
    """
    from eval.episodes.plan import SegmentationTask
    from eval.episodes.scoring import Scoring
    from eval.episodes.segmentation import run_segmentation
    from eval.runs.shards import shard_of
    from eval.studies.settings import nested, parse_setting

    task = SegmentationTask(
        root=root,
        out=out,
        dataset=dataset.value,
        split_list=split_list,
        fold="all" if fold is Fold.all else int(fold.value),
        way=way,
        shot=shot,
        protocol=protocol.value,
        episodes=episodes,
        seed=seed,
        episodes_file=episodes_file,
        allow_missing=allow_missing,
        methods=tuple(one.value for one in method or [Method.ours]),
        support_hint=hint_name(support_hint, support_masks),
        query_hint=hint_name(query_hint),
        matcher=matcher,
        absent=absent,
        weights=weights,
        device=device,
        skip_small_classes=skip_small_classes,
        workers=workers,
        cache_memory=cache_memory,
        scoring=Scoring(boundary=boundary, samples=bootstrap),
        options=nested(map(parse_setting, settings or ())),
    )
    shard = shard_of(os.environ)
    try:
        metrics = run_segmentation(task, partial(tracked, command=COMMAND) if shard.leads else None, shard)
    except KeyboardInterrupt:
        if shard.leads:
            complain("the same command goes on from here", kind="interrupted", command=COMMAND)
        raise
    if shard.leads:
        print_metrics(metrics, out)
        if report:
            typer.echo(f"Report: {write_report_of(segment, out, root, split_list, device=device)}")
