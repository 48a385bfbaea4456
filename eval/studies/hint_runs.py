"""What hints are worth: runs on the same episodes with each kind of hint of supports and of queries, and with none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from eval.episodes.hints import HINTS
from eval.episodes.plan import SegmentationTask, open_task
from eval.episodes.segmentation import build_engine
from eval.studies.compare import Comparison, compare
from eval.studies.dev import run_fold
from eval.studies.systems import load_systems
from fewshot_seg.datasets import Fold
from fewshot_seg.errors import ConfigError
from fewshot_seg.streams import Track

FOLDS: Final[Sequence[Fold]] = (0, 1, 2, 3)
NONE: Final = "none"

SETTINGS: Final = (
    NONE,
    *(f"support-{kind}" for kind in HINTS),
    *(f"query-{kind}" for kind in HINTS if kind != "mask"),  # that of a query is its result
)
"""Whose hints, and of which kind; the first is the base of comparisons."""


@dataclass(frozen=True)
class HintPlan:
    """What is run.

    Attributes:
        task: for all of the runs; its `out` gets a folder for each setting and fold. Without a number of episodes
            it is one for each entry of the list that the fold has.
        folds: to run.
        settings: some of `SETTINGS`; the base is run in any case.
    """

    task: SegmentationTask
    folds: Sequence[Fold] = FOLDS
    settings: Sequence[str] = SETTINGS

    def __post_init__(self) -> None:
        for name in self.settings:
            if name not in SETTINGS:
                raise ConfigError(f"unknown hint {name!r}: choose {', '.join(SETTINGS)}")


def run_hints(plan: HintPlan, track: Track | None = None) -> Comparison:
    """Run what isn't finished, and compare every setting with none. FewShotError: as `run_segmentation`."""
    task = plan.task
    dataset = open_task(task)
    engine = build_engine(task)
    runs: list[Path] = []
    for name in dict.fromkeys((NONE, *plan.settings)):
        side, _, kind = name.partition("-")
        told = replace(task, support_hint=kind) if side == "support" else replace(task, query_hint=kind or None)
        told = replace(told, out=task.out / name)
        runs += [run_fold(told, fold, dataset, engine, track, name) for fold in plan.folds]
    systems = [replace(one, name=one.first.run.parent.name) for one in load_systems(runs)]
    return compare(systems, task.scoring.samples)


def behind(found: Comparison) -> list[str]:
    """The settings whose mean IoU isn't above that of none."""
    return [one.system for one in found.differences if not one.means["miou"].value > 0]
