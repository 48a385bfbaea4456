"""The report of a segmentation run: RUN/report.html, from the run's folder and its data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.episodes.matchers import KNOWN, matcher_words
from eval.episodes.methods import hints_in
from eval.episodes.predictions import decode, predictions_file
from eval.episodes.scoring import EPISODES, EpisodeScore, episode_table, open_run_dataset
from eval.report.cases import MOST_SUPPORTS, VOID_COLOUR, Case, Drawn, draw_case, frame_for
from eval.report.steps import Steps, recompute
from eval.report.task import MOST_ROWS, Group, ReportTask, groups_of
from eval.runs.folder import read_lines
from eval.tables.table import percent
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode, read_episodes
from fewshot_seg.errors import describe
from fewshot_seg.imaging.render import SEED_COLOURS
from fewshot_seg.streams import Track, untracked

# Of trimaps, by cv2's codes.
_SEEDS = {1: "surely the object", 3: "probably the object", 2: "probably background", 0: "surely background"}


@dataclass(frozen=True, eq=False)
class _Run:
    """A run's folder, read."""

    task: ReportTask
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    dataset: SegmentationDataset
    episodes: Sequence[Episode]
    scores: Sequence[EpisodeScore]

    @property
    def method(self) -> str:
        return str(self.metrics["method"])

    def names(self, place: int) -> list[str]:
        """Of an episode's classes."""
        return [self.dataset.class_names[label - 1] for label in self.episodes[place].classes]


def write_report(task: ReportTask, track: Track = untracked) -> Path:
    """Write `task.out`/report.html, one file that needs no other.

    The figures are those of metrics.json. Attention and trimaps aren't kept in a run's folder: they are worked out
    again for the episodes that are drawn, and left out, with a word on why, where that can't be done.

    Returns:
        The file.

    Raises:
        DataError: not the folder of a finished run, or its data isn't where it is looked for.
        ImageError: an image can't be read. OutputError: the file can't be written.
    """
    config, metrics = task.read("segmentation")
    dataset = open_run_dataset(config, task.root, task.split_list)
    episodes = read_episodes(task.out / EPISODES, dataset.class_names)
    run = _Run(task, config, metrics, dataset, episodes, episode_table(task.out, dataset))
    ious, queries = [one.miou for one in run.scores], [one.query for one in run.scores]
    groups = groups_of(ious, queries, task.examples, "By IoU, each query image once.")
    places = list(dict.fromkeys(place for group in groups for place in group.places))
    steps = recompute(config, run.method, dataset, episodes, places, task.network, track)
    drawn = _draw(run, places, steps)
    again = [(one.prediction, one.steps.label_map) for one in drawn.values() if one.steps is not None]
    return task.write(
        "segmentation.html",
        config,
        metrics,
        hints=hints_in(config, run.method),
        matcher=matcher_words(config, run.method),
        known=KNOWN,
        problem=steps.problem,
        again=len(again),
        changed=sum(bool((before != now).any()) for before, now in again),
        **_classes(run),
        ious=sorted(iou for iou in ious if not math.isnan(iou)),
        groups=_groups(run, groups, drawn),
        seeds={name: SEED_COLOURS[code] for code, name in _SEEDS.items()},
        void=VOID_COLOUR,
        scores=run.scores,
        rows=_rows(run, places),
    )


def _draw(run: _Run, places: Sequence[int], steps: Steps) -> dict[int, Drawn]:
    path = predictions_file(run.task.out, run.method)
    lines = read_lines(path)
    drawn = {}
    for place in places:
        episode = run.episodes[place]
        size = run.dataset.mask(episode.query).shape
        prediction = decode(lines[place], run.dataset, episode, size, f"{describe(path)}:{place + 1}")
        drawn[place] = Drawn(episode, run.scores[place], prediction, steps.found.get(place))
    return drawn


def _classes(run: _Run) -> dict[str, Any]:
    """The classes' bars, the best first; an interval of no width, a class in one image only, tells nothing."""
    methods: Mapping[str, Any] = run.metrics["methods"]
    intervals = (run.metrics.get("intervals") or {}).get("per_class") or {}
    return {
        "classes": sorted(run.metrics["per_class"].items(), key=lambda pair: (-pair[1], pair[0])),
        "others": {name: one["per_class"] for name, one in methods.items() if name != run.method},
        "wide": {name: ends for name, ends in intervals.items() if ends[0] != ends[1]},
        "counts": Counter(name for place in range(len(run.episodes)) for name in run.names(place)),
    }


def _groups(run: _Run, groups: Sequence[Group], drawn: Mapping[int, Drawn]) -> list[dict[str, Any]]:
    """The groups with their episodes drawn; only the first article of an episode has an anchor."""
    frame = frame_for(
        [drawn[place].episode for group in groups for place in group.places],
        steps=any(one.steps for one in drawn.values()),
    )
    masks = hints_in(run.config, run.method).supports == "mask"
    seen: set[int] = set()

    def case(place: int) -> Case:
        anchor = None if place in seen else f"episode-{place}"
        seen.add(place)
        return draw_case(drawn[place], run.dataset, frame, masks=masks, anchor=anchor)

    return [{"title": one.title, "note": one.note, "cases": [case(place) for place in one.places]} for one in groups]


def _rows(run: _Run, drawn: Sequence[int]) -> list[dict[str, Any]]:
    """All episodes, or the worst of very many, the worst first."""
    keys = [(math.isnan(one.miou), 0.0 if math.isnan(one.miou) else one.miou, one.index) for one in run.scores]
    return [_row(run, place, place in drawn) for place in sorted(range(len(keys)), key=keys.__getitem__)[:MOST_ROWS]]


def _row(run: _Run, place: int, linked: bool) -> dict[str, Any]:
    episode, score, names = run.episodes[place], run.scores[place], run.names(place)
    supports = [image for label in episode.classes for image in episode.supports[label]]
    more = f" and {len(supports) - MOST_SUPPORTS} more" if len(supports) > MOST_SUPPORTS else ""
    several = (f"{name} {percent(score.class_ious.get(name))}" for name in names)
    return {
        "episode": episode,
        "score": score,
        "place": place,
        "linked": linked,
        "classes": names[0] if len(names) == 1 else ", ".join(several),
        "supports": ", ".join(supports[:MOST_SUPPORTS]) + more,
    }
