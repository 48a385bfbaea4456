"""A small grid over the segmenter's options on a development list: tuning without a look at what is scored later.

Every point of the grid is a run of its own, on the same episodes, so a sweep can be interrupted, and grow. The
best of many points looks better than it is. So the choice is cross-validated over classes: the classes are
parted into groups, the point is chosen on all groups but one, and counted on that one.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.episodes.plan import SegmentationTask, open_task, round_length
from eval.episodes.segmentation import build_engine, run_segmentation
from eval.runs.folder import refuse_foreign_table
from eval.studies.compare import Difference, Estimate, difference, estimate
from eval.studies.compare_tables import estimate_text, p_text
from eval.studies.pascal_val import validation_images
from eval.studies.settings import nested
from eval.studies.systems import Part, System, load_parts
from eval.tables.table import Table, percent
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.datasets.labelled import examples
from fewshot_seg.datasets.segmentation import read_split_list
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.export import make_folder, write_json
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.streams import Track

SWEEP = "sweep.json"

_LONGEST_NAME = 150


@dataclass(frozen=True)
class Sweep:
    """What is tried.

    Attributes:
        task: as for one run; its `out` gets a folder for each point, its list is the development list. Without
            a number of episodes it is one for each entry of the list.
        settings: option (dotted, as "seeds.background") -> the values to try.
        score_lists: lists that will be scored on; no image of them may be in the development list.
        allow_test_list: try it on such images all the same.
        groups: of classes, for cross-validation, at least 2.
    """

    task: SegmentationTask
    settings: Mapping[str, Sequence[Any]]
    score_lists: tuple[Path, ...] = ()
    allow_test_list: bool = False
    groups: int = 4

    def __post_init__(self) -> None:
        if not self.settings:
            raise ConfigError("nothing to try: name an option and its values, as --set seeds.background=0.2,0.4")
        if self.groups < 2:
            raise ConfigError(f"groups {self.groups}: cross-validation needs at least 2")
        if self.task.methods != ("ours",):
            raise ConfigError(f"methods {list(self.task.methods)}: a sweep is over options of 'ours'")


@dataclass(frozen=True, eq=False)
class Point:
    """One choice of options, and what came of it.

    Attributes:
        settings: option -> value.
        system: its run.
        figures: as `compare.estimate` gives them.
        behind: its difference from the best point; None for that one.
    """

    settings: Mapping[str, Any]
    system: System
    figures: Mapping[str, Estimate]
    behind: Difference | None


@dataclass(frozen=True)
class Choice:
    """What cross-validation chose for one group of classes.

    Attributes:
        classes: names of the group's classes.
        settings: the best point on all other classes.
        ious: class -> IoU of that point, for this group's classes.
    """

    classes: tuple[str, ...]
    settings: Mapping[str, Any]
    ious: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep found.

    Attributes:
        points: the best mean IoU first.
        choices: one for each group of classes.
        validated: class mean IoU of what was chosen without the class's own group; NaN where nothing is.
    """

    points: tuple[Point, ...]
    choices: tuple[Choice, ...]
    validated: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "points": [
                {
                    "settings": dict(one.settings),
                    "run": str(one.system.first.run),
                    **{name: vars(value) for name, value in one.figures.items()},
                }
                for one in self.points
            ],
            "cross_validation": {
                "miou": None if math.isnan(self.validated) else self.validated,
                "groups": [vars(one) | {"settings": dict(one.settings)} for one in self.choices],
            },
        }


def run_sweep(sweep: Sweep, track: Track | None = None) -> SweepResult:
    """Run every point that isn't finished, and write sweep.json.

    Raises:
        ConfigError: an option or value that isn't there, a list that will be scored on, or as `run_segmentation`.
        FewShotError: as `run_segmentation`.
    """
    values = itertools.product(*sweep.settings.values())  # the last option's values change fastest
    points = [dict(zip(sweep.settings, one, strict=True)) for one in values]
    options = [nested(point.items()) for point in points]
    for changes in options:
        SegmenterOptions.from_dict(changes)
    task = sweep.task
    dataset = open_task(task)
    if not sweep.allow_test_list:
        check_leakage(dataset, sweep.score_lists)
    if task.episodes is None:
        task = replace(task, episodes=round_length(task, dataset))
    refuse_foreign_table(task.out / SWEEP)
    make_folder(task.out)
    engine = build_engine(task)
    parts = []
    for point, changes in zip(points, options, strict=True):
        out = task.out / _folder_name(point)
        run_segmentation(replace(task, out=out, options=changes), track, engine=engine)
        parts.append(load_parts(out)[0])
    result = _result(points, parts, dataset, sweep)
    write_json(task.out / SWEEP, result.to_dict())
    return result


def check_leakage(dataset: SegmentationDataset, score_lists: Sequence[Path]) -> None:
    """Refuse images that will be scored on.

    PASCAL-5i's validation lists are known, and always looked for.

    Raises:
        ConfigError: the lists share images. DataError: a bad list.
    """
    own = {entry.image for entry in dataset.entries}
    for path in score_lists:
        shared = own & {entry.image for entry in read_split_list(path, len(dataset.class_names))}
        _refuse(sorted(shared), str(path))
    if dataset.name == "pascal5i":
        _refuse(validation_images(own), "PASCAL-5i's validation lists")


def class_groups(dataset: SegmentationDataset, labels: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """The classes in `count` groups: the data set's folds where these are as many, else one after the other."""
    folds = [tuple(label for label in fold if label in set(labels)) for fold in dataset.folds]
    if len(folds) == count and all(folds):
        return folds
    groups = [tuple(labels[start::count]) for start in range(count)]
    return [group for group in groups if group]


def cross_validate(
    points: Sequence[Mapping[str, Any]],
    ious: Sequence[Mapping[int, float]],
    groups: Sequence[Sequence[int]],
    class_names: Mapping[int, str],
) -> list[Choice]:
    """For each group, the point that is best on all the others; the first of equal ones.

    `ious` are each point's, by class; `class_names` are by class, too.
    """
    choices = []
    for group in groups:
        others = [[iou for label, iou in one.items() if label not in group] for one in ious]
        means = [math.fsum(one) / len(one) if one else -1.0 for one in others]
        best = int(np.argmax(means))
        own = {class_names[label]: ious[best][label] for label in group if label in ious[best]}
        choices.append(Choice(tuple(class_names[label] for label in group), points[best], own))
    return choices if len(groups) > 1 else []


def _result(
    points: Sequence[Mapping[str, Any]], parts: Sequence[Part], dataset: SegmentationDataset, sweep: Sweep
) -> SweepResult:
    samples = sweep.task.scoring.samples
    systems = [
        System(setting_text(point), {str(part.config["fold"]): part}) for point, part in zip(points, parts, strict=True)
    ]
    figures = [estimate(system, samples) for system in systems]
    order = sorted(range(len(points)), key=lambda place: (-np.nan_to_num(figures[place]["miou"].value), place))
    best = systems[order[0]]
    behind = [None if system is best else difference(best, system, samples) for system in systems]
    ranked = tuple(Point(points[place], systems[place], figures[place], behind[place]) for place in order)
    labels = parts[0].counts.classes
    ious = [part.counts.score(part.method).per_class for part in parts]
    names = {label: dataset.class_names[label - 1] for label in labels}
    choices = cross_validate(points, ious, class_groups(dataset, labels, sweep.groups), names)
    held_out = [iou for one in choices for iou in one.ious.values()]
    return SweepResult(ranked, tuple(choices), math.fsum(held_out) / len(held_out) if held_out else math.nan)


def setting_text(point: Mapping[str, Any]) -> str:
    """Options on one line."""
    return ", ".join(f"{name}={value}" for name, value in point.items())


def _folder_name(point: Mapping[str, Any]) -> str:
    """The options as a folder's name; a digest ends one that had to be changed."""
    title = ",".join(f"{name}={value}" for name, value in point.items())
    plain = re.sub(r"[^\w.,=+-]", "_", title)[:_LONGEST_NAME]
    return plain if plain == title else f"{plain}-{hashlib.sha256(title.encode()).hexdigest()[:8]}"


def _refuse(shared: Sequence[str], whose: str) -> None:
    if shared:
        what = f"{len(shared)} images of the development list are in {whose}: {examples(shared)}"
        raise ConfigError(f"{what}; tune on others, or say --allow-test-list and don't report the score")


def sweep_table(result: SweepResult) -> Table:
    """The points, best first, and under them what cross-validation chose."""
    names = tuple(result.points[0].settings)
    columns = (*names, "mean IoU", "FB-IoU", "from the best", "p")
    best = result.points[0].figures["miou"].value
    notes = [_choice_text(choice) for choice in result.choices]
    if result.choices:
        notes.append(f"Cross-validated mean IoU {percent(result.validated)}; of the best point itself {percent(best)}.")
    rows = tuple(map(_row, result.points))
    return Table("Options, best first, in per cent", columns, rows, tuple(notes), names=len(names))


def _row(point: Point) -> tuple[str, ...]:
    values = [str(value) for value in point.settings.values()]
    figures = [estimate_text(point.figures[name]) for name in ("miou", "fb_iou")]
    if point.behind is None:
        return (*values, *figures, "", "")
    return (*values, *figures, estimate_text(point.behind.means["miou"], "+"), p_text(point.behind.p_values["miou"]))


def _choice_text(choice: Choice) -> str:
    own = math.fsum(choice.ious.values()) / len(choice.ious) if choice.ious else math.nan
    where = ", ".join(choice.classes)
    return f"Chosen without {where}: {setting_text(choice.settings)}; mean IoU on these {percent(own)}."
