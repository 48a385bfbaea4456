"""The development figures: every fold, 1- and 2-way, 1- and 5-shot, on a part of VOC that isn't the benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from eval.episodes.methods import Engine
from eval.episodes.plan import SegmentationTask, open_task, round_length
from eval.episodes.segmentation import build_engine, run_segmentation
from eval.studies.compare import compare
from eval.studies.compare_tables import figures_table
from eval.studies.systems import System, load_systems
from eval.tables.table import Table, percent
from fewshot_seg.datasets import Fold, SegmentationDataset
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.streams import Track

SETTINGS: Final = ((1, 1), (1, 5), (2, 1), (2, 5))
"""(ways, shots)."""

FOLDS: Final = (0, 1, 2, 3)

_SHOWN: Final = ("miou", "binary_iou")

BENCHMARK: Final = (
    "The benchmark, for each fold I from 0 to 3: fewshot-eval segment --root VOC2012 --split-list val/foldI.txt "
    "--fold I --shot 1 --out runs/foldI; then: fewshot-eval compare runs/fold0 runs/fold1 runs/fold2 runs/fold3"
)


@dataclass(frozen=True)
class DevPlan:
    """What is run.

    Attributes:
        task: for all of the runs; its `out` gets a folder for each, its `methods` are the table's rows. Without
            a number of episodes it is one for each entry of the list that a fold has.
        settings: (ways, shots) to run.
    """

    task: SegmentationTask
    settings: Sequence[tuple[int, int]] = SETTINGS


def run_dev(plan: DevPlan, track: Track | None = None) -> Table:
    """Run what isn't finished; a fold that has too few images or classes is left out, and the table says so.

    Raises:
        DataError: no data in the folder, or no fold has enough of it. Others as `run_segmentation`.
    """
    task = plan.task
    if not (task.root / "JPEGImages").is_dir():
        hint = "give a folder in VOC's layout by --root (make eval-dev DATA=DIR)"
        raise DataError(f"{describe(task.root)}: has no JPEGImages; {hint}")
    dataset = open_task(task)
    engine = build_engine(task)
    runs: list[Path] = []
    reasons: dict[str, str] = {}
    for way, shot in plan.settings:
        name = f"{way}-way {shot}-shot"
        one = replace(task, out=task.out / f"{way}way-{shot}shot", way=way, shot=shot)
        done, left = run_folds(one, dataset, engine, track, name)
        runs += done
        reasons |= {f"{name}, {fold}": why for fold, why in left.items()}
    if not runs:
        raise DataError("; ".join(dict.fromkeys(reasons.values())))
    return dev_table(load_systems(runs), reasons, task.scoring.samples)


def run_fold(
    task: SegmentationTask,
    fold: Fold,
    dataset: SegmentationDataset,
    engine: Engine | None,
    track: Track | None,
    name: str,
) -> Path:
    """Run a task on a fold, in a folder of its own; without a number of episodes it is one for each entry.

    The data set is what the task names, the engine from `build_engine`; progress is shown under a name.
    """
    told = None if track is None else lambda items, total, what: track(items, total, f"{name}, fold {fold}: {what}")
    one = replace(task, out=task.out / f"fold{fold}", fold=fold, skip_small_classes=True)
    run_segmentation(replace(one, episodes=one.episodes or round_length(one, dataset)), told, engine=engine)
    return one.out


def run_folds(
    task: SegmentationTask, dataset: SegmentationDataset, engine: Engine | None, track: Track | None, name: str
) -> tuple[list[Path], dict[str, str]]:
    """`run_fold` of every fold that has enough images for it.

    Returns:
        The runs' folders; and "fold I" -> why it could not be run.

    Raises:
        FewShotError: as `run_segmentation`, from a run that had started.
    """
    runs, reasons = [], {}
    for fold in FOLDS:
        try:
            runs.append(run_fold(task, fold, dataset, engine, track, name))
        except (ConfigError, DataError) as error:
            if (task.out / f"fold{fold}").exists():  # it started, so it isn't the data that is too little for it
                raise
            reasons[f"fold {fold}"] = str(error)
    return runs, reasons


def dev_table(systems: Sequence[System], reasons: Mapping[str, str], samples: int) -> Table:
    """One table of all runs; under it what was left out, and the command for the real benchmark."""
    table = figures_table(compare(systems, samples))
    notes = [f"{name}: not run, {reason}." for name, reason in reasons.items()]
    notes += _two_way(systems)
    title = f"Development figures on a part of VOC, not the benchmark: {table.title[0].lower()}{table.title[1:]}"
    return replace(table, title=title, notes=(*table.notes, *notes, BENCHMARK))


def _two_way(systems: Sequence[System]) -> list[str]:
    """How many queries hold all classes of their episode, in runs of several ways, and the figures on these."""
    notes = []
    for system in systems:
        if system.config["way"] > 1:
            parts = [part.holding_all() for part in system.parts.values()]
            held = sum(count for count, _ in parts)
            total = sum(len(one.counts.queries) for one in system.parts.values())
            there = [figures for count, figures in parts if count]
            means = (math.fsum(one[name] for one in there) / len(there) if there else None for name in _SHOWN)
            figures = "mean IoU {}, binary IoU {}".format(*map(percent, means))
            in_all = f"in {held} of {total} episodes the query holds all the classes"
            notes.append(f"{system.name}: {in_all}; there {figures}.")
    return notes
