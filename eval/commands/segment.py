"""`fewshot-eval segment`: segment episodes and score them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import goes_on, track
from eval.commands.figures import print_metrics
from eval.commands.lines import write_report_of
from eval.commands.options import (
    Boundary,
    Data,
    Drawing,
    Fold,
    Hints,
    MakeReport,
    Network,
    QueryResamples,
    RunFolder,
    fold_of,
    methods_option,
)
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

EPILOG = examples(
    "fewshot-eval segment --root VOC2012 --split-list fold0.txt --fold 0 --out runs/fold0",
    "fewshot-eval segment --root voc --fold all --episodes 200 --method ours --method centre-box --out runs/dev",
)


@grouped
def segment(
    data: Data,
    out: RunFolder,
    hints: Hints,
    network: Network,
    drawing: Drawing,
    fold: Annotated[Fold, typer.Option(help="The classes to test; all is for development.")] = "0",
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
            metavar="FILE", help="Replay these episodes: an episodes.jsonl, or lines QUERY | CLASS SUPPORT ..."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        methods_option(
            "May be repeated: every method gets the same episodes. Parts switched off or changed: no-grabcut, "
            "random-walk, keep-all, one-round, second-look, kind, thing, class-by-class, no-presence-check; other "
            "ways: correspondence, attention, contributions, class-evidence, grad-cam, paper, paper-letter; with a "
            "hint: support-mask, query-box and so on; blind: all-foreground, centre-box; or another package's "
            "(docs/plugins.md).",
            "ours",
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
    absent: Annotated[
        bool,
        typer.Option(
            "--absent",
            help="After each episode one with a query that shows none of its classes; objects may then count as "
            "absent. AUROC of the scores is in metrics.json.",
        ),
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out images that are listed but not there, and say how many.")
    ] = False,
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
        out=out,
        fold=fold_of(fold),
        episodes=episodes,
        seed=seed,
        episodes_file=episodes_file,
        allow_missing=allow_missing,
        methods=tuple(method or ["ours"]),
        absent=absent,
        scoring=Scoring(boundary=boundary, samples=bootstrap),
        options=nested(map(parse_setting, settings or ())),
        **vars(drawing),
        **data.settings(),
        **hints.settings(),
        **network.settings(),
    )
    shard = shard_of(os.environ)
    with goes_on(shard.leads):
        metrics = run_segmentation(task, track if shard.leads else None, shard)
    if shard.leads:
        print_metrics(metrics, out)
        if report:
            typer.echo(f"Report: {write_report_of(segment, out, data.root, data.split_list, device=network.device)}")
