"""What each part is worth: everything, every part switched off in turn, and the other ways; over several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from eval.episodes.methods import CHANGES
from eval.episodes.plan import SegmentationTask, open_task
from eval.episodes.segmentation import build_engine
from eval.measures.metrics import MEANS
from eval.studies.dev import run_folds
from eval.studies.systems import System, load_systems
from eval.tables.table import Table
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.streams import Track

ABLATED: Final = (*CHANGES, "centre-box")
"""The methods of the table, in its order."""

SETTINGS: Final = ((1, 1), (1, 5), (2, 1))
"""(ways, shots)."""

_ALIKE: Final = (("class-by-class", "no-presence-check"), ("presence-check",))
"""What doesn't differ from ours, with one class and with several."""

_WORDS: Final[Mapping[str, str]] = {
    "ours": "everything, as by default",
    "no-grabcut": "without GrabCut",
    "random-walk": "a random walk in place of GrabCut",
    "keep-all": "without the check of refined masks",
    "one-round": "one round of matching",
    "class-by-class": "each class by itself",
    "presence-check": "objects may count as absent",
    "no-presence-check": "no object counts as absent",
    "correspondence": "correspondence without training",
    "attention": "attention: overlap of embeddings",
    "contributions": "attention: contributions to the cosine",
    "class-evidence": "attention: evidence of shared classes",
    "grad-cam": "attention: Grad-CAM",
    "paper": "attention: equation 1, norm held constant",
    "paper-letter": "attention: equation 1 to the letter",
    "centre-box": "a centred box",
}

_PRESENCE: Final = (
    "With one class the protocol says that the query shows it, so nothing counts as absent there; with several "
    "classes a query may lack some, and those of low scores count as absent."
)

Scores = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class AblationPlan:
    """What is run.

    Attributes:
        task: for all of the runs; its `out` gets a folder for each seed, setting and fold, its `methods` are the
            rows. Its `episodes` are of each fold, None for one of each entry of the list that the fold has.
        seeds: of episodes and segmenter, one run of everything for each.
        settings: (ways, shots) to run.
    """

    task: SegmentationTask
    seeds: Sequence[int] = (0, 1, 2)
    settings: Sequence[tuple[int, int]] = SETTINGS

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds {list(self.seeds)}: name at least one, and each once")
        if "ours" not in self.task.methods:
            raise ConfigError(f"methods {list(self.task.methods)}: 'ours' must be among them, to compare with")


@dataclass(frozen=True)
class Row:
    """One method in one setting.

    Attributes:
        method: its name.
        setting: (ways, shots).
        scores: of `metrics.MEANS` -> a share for each seed, the mean over folds.
        matcher: what its matchers knew of the classes (`matchers.matcher_words`).
        folds: those that were run.
    """

    method: str
    setting: tuple[int, int]
    scores: Scores = field(repr=False)
    matcher: str
    folds: tuple[str, ...]


def run_ablation(plan: AblationPlan, track: Track | None = None) -> Table:
    """Run what isn't finished; all runs share one network and its features.

    Raises:
        DataError: no fold has enough images. Others as `run_segmentation`.
    """
    task = plan.task
    dataset = open_task(task)
    engine = build_engine(task)
    runs: list[Path] = []
    reasons: dict[str, str] = {}
    for seed in plan.seeds:
        for way, shot in plan.settings:
            methods = tuple(name for name in task.methods if name not in _ALIKE[way > 1])
            one = replace(task, seed=seed, way=way, shot=shot, methods=methods)
            one = replace(one, out=task.out / f"seed{seed}" / f"{way}way-{shot}shot")
            done, left = run_folds(one, dataset, engine, track, f"seed {seed}, {way}-way {shot}-shot")
            runs += done
            reasons |= {f"{way}-way {shot}-shot, {fold}": why for fold, why in left.items()}
    if not runs:
        raise DataError("; ".join(dict.fromkeys(reasons.values())))
    return ablation_table(ablation_rows(load_systems(runs)), len(plan.seeds), reasons)


def ablation_rows(systems: Sequence[System]) -> list[Row]:
    """One row for each method and setting, seeds together, in the order given."""
    groups: dict[tuple[str, int, int], list[System]] = {}
    for one in systems:
        groups.setdefault((one.first.method, one.config["way"], one.config["shot"]), []).append(one)
    rows = []
    for (method, way, shot), group in groups.items():
        every = [one.means(list(one.parts)) for one in group]
        scores = {name: [one[name] for one in every] for name in MEANS}
        matcher = " + ".join(dict.fromkeys(one.matcher for one in group))
        rows.append(Row(method, (way, shot), scores, matcher, tuple(group[0].parts)))
    return rows


def ablation_table(rows: Sequence[Row], seeds: int, reasons: Mapping[str, str]) -> Table:
    """Methods down, settings across; means and standard deviations over seeds.

    `reasons` says of what couldn't be run why.
    """
    settings = list(dict.fromkeys(row.setting for row in rows))
    found = {(row.method, row.setting): row for row in rows}
    methods = list(dict.fromkeys(row.method for row in rows))
    columns = ["method", "what it is", "matcher"]
    for way, shot in settings:
        second = "FB-IoU" if way == 1 else "binary IoU"
        columns += [f"{way}-way {shot}-shot mean IoU", "from ours", second]
    body = []
    for method in methods:
        cells = [cell for setting in settings for cell in _cells(found, method, setting)]
        matcher = next(row.matcher for row in rows if row.method == method)
        body.append((method, _WORDS.get(method, method), matcher, *cells))
    title = f"Ablation: per cent, mean and standard deviation over {seeds} seeds of the episodes"
    return Table(title, tuple(columns), tuple(body), tuple(_notes(rows, reasons)), names=3)


def _cells(found: Mapping[tuple[str, tuple[int, int]], Row], method: str, setting: tuple[int, int]) -> list[str]:
    row, ours = found.get((method, setting)), found.get(("ours", setting))
    if row is None or ours is None:
        return ["-", "-", "-"]
    pairs = zip(row.scores["miou"], ours.scores["miou"], strict=True)
    differences = [mine - theirs for mine, theirs in pairs]
    second = "fb_iou" if setting[0] == 1 else "binary_iou"
    behind = "" if method == "ours" else _spread(differences, "+")
    return [_spread(row.scores["miou"]), behind, _spread(row.scores[second])]


def _spread(shares: Sequence[float], sign: str = "") -> str:
    """Per cent, mean and standard deviation: "41.6 ± 0.3"."""
    values = 100 * np.asarray(shares, np.float64)
    if np.isnan(values).any():
        return "-"
    told = f"{math.fsum(values) / len(values):{sign}.1f}"
    return told if len(values) < 2 else f"{told} ± {float(values.std(ddof=1)):.1f}"


def _notes(rows: Sequence[Row], reasons: Mapping[str, str]) -> list[str]:
    several = {row.setting: row.folds for row in rows}
    folds = "; ".join(f"{way}-way {shot}-shot: {', '.join(names)}" for (way, shot), names in several.items())
    return [
        f"Each figure is the mean over folds ({folds}). From ours: the difference on the same episodes.",
        _PRESENCE,
        *(f"{name}: not run, {reason}." for name, reason in reasons.items()),
    ]
