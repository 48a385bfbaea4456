"""The report of a segmentation run: RUN/report.html, from the run's folder and its data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.episodes.matchers import matcher_words
from eval.episodes.methods import told_in
from eval.episodes.predictions import decode, predictions_file
from eval.episodes.scoring import EPISODES, METRICS, EpisodeScore, episode_table, open_run_dataset, read_config
from eval.report.cases import MOST_SUPPORTS, VOID_COLOUR, Drawn, draw_case, frame_for
from eval.report.examples import Group, choose
from eval.report.figures import classes_section, figures_section, notices_of
from eval.report.html import Html, element, join
from eval.report.page import Section, document, write_page
from eval.report.parts import Cell, Column, histogram, key_table, key_to_colours, table
from eval.report.steps import Steps, recompute
from eval.report.task import ReportTask
from eval.runs.folder import read_lines
from eval.tables.table import percent
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode, read_episodes
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.render import SEED_COLOURS
from fewshot_seg.streams import Track

__all__ = ["REPORT", "made_section", "write_report"]

REPORT = "report.html"
MOST_ROWS = 20_000  # of the table of all episodes
_SEEDS = ("surely background", "surely the object", "probably background", "probably the object")  # by cv2's codes


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


def write_report(task: ReportTask, track: Track | None = None) -> Path:
    """Write `task.out`/report.html, one file that needs no other.

    The figures are those of metrics.json. Attention and trimaps aren't kept in a run's folder: they are worked out
    again for the episodes that are drawn, and left out, with a word on why, where that can't be done.

    Returns:
        The file.

    Raises:
        DataError: not the folder of a finished run, or its data isn't where it is looked for.
        ImageError: an image can't be read. OutputError: the file can't be written.
    """
    track = track or (lambda items, total, what: iter(items))
    run = _read(task)
    groups = choose(run.scores, task.examples)
    places = list(dict.fromkeys(place for group in groups for place in group.places))
    steps = recompute(run.config, run.method, run.dataset, run.episodes, places, task.network, track)
    drawn = _draw(run, places, steps)
    notices = [*notices_of(run.config, run.metrics), *_notices_on_steps(drawn, steps)]
    sections = [
        figures_section(run.config, run.metrics),
        classes_section(run.metrics, _episodes_of_classes(run)),
        _examples_section(run, groups, drawn),
        _all_section(run, places),
        made_section(run.config, task.command and task.command(run.config, run.metrics, task.out)),
    ]
    path = task.out / REPORT
    write_page(path, document(_title(run.config), _subtitle(run), sections, notices=notices))
    return path


def _read(task: ReportTask) -> _Run:
    config = read_config(task.out)
    path = task.out / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{describe(path)}: cannot be read ({error}); run the evaluation to its end first") from error
    dataset = open_run_dataset(config, task.root, task.split_list)
    episodes = read_episodes(task.out / EPISODES, dataset.class_names)
    return _Run(task, config, metrics, dataset, episodes, episode_table(task.out, dataset))


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


def _notices_on_steps(drawn: Mapping[int, Drawn], steps: Steps) -> Iterator[str]:
    if steps.problem:
        yield f"Attention and trimaps are left out, for they can't be worked out again: {steps.problem}"
    pairs = [(one.prediction, one.steps.label_map) for one in drawn.values() if one.steps is not None]
    if changed := sum(bool((before != now).any()) for before, now in pairs):
        yield (
            f"In {changed} of the {len(pairs)} episodes drawn, segmenting again gives another mask than the one kept: "
            "this is another machine or version than the run's. Predictions shown are those kept; attention and "
            "trimaps are today's."
        )


def _title(config: Mapping[str, Any]) -> str:
    classes = "all classes" if config["fold"] == "all" else f"fold {config['fold']}"
    # Hyphens that don't break: a line that ends in "1-" reads badly.
    return f"{config['dataset']}, {classes}: {config['way']}\u2011way {config['shot']}\u2011shot segmentation"


def _subtitle(run: _Run) -> str:
    config = run.config
    source = (
        f"from {describe(drawn)}" if (drawn := config.get("episodes_file")) else f"by protocol {config['protocol']}"
    )
    parts = [f"{len(run.episodes):,} episodes {source}, seed {config['seed']}", f"method {run.method}"]
    if config.get("weights"):
        hints = told_in(config, run.method)
        parts += [f"weights {config['weights']}", f"supports {f'with {hints.supports}' if hints.supports else 'alone'}"]
        parts += [f"queries with {hints.query}"] if hints.query else []
        parts += [words] if (words := matcher_words(config, run.method)) != "none" else []
    return "; ".join(parts)


def _examples_section(run: _Run, groups: Sequence[Group], drawn: Mapping[int, Drawn]) -> Section:
    have_steps = any(one.steps for one in drawn.values())
    frame = frame_for([drawn[place].episode for group in groups for place in group.places], steps=have_steps)
    masks = told_in(run.config, run.method).supports == "mask"
    body: list[Html] = [_spread(run)]
    if have_steps:
        order = (1, 3, 2, 0)
        body.append(key_to_colours({_SEEDS[code]: SEED_COLOURS[code] for code in order}, "Trimaps:"))
    if drawn:
        body.append(key_to_colours({"not counted (void)": VOID_COLOUR}, "Truth:"))
    seen: set[int] = set()
    for group in groups:
        body += [element("h3", group.title), element("p", group.note, class_="note")]
        for place in group.places:
            anchor = None if place in seen else f"episode-{place}"
            seen.add(place)
            body.append(draw_case(drawn[place], run.dataset, frame, masks=masks, anchor=anchor))
    note = (
        "An episode's own IoU is the mean over its classes. The run's mean IoU is not the mean of these: it sums "
        "pixels over all episodes of a class before it divides. A class in neither truth nor prediction has none (-)."
    )
    return Section("episodes", "Episodes", join(body, "\n"), note)


def _episodes_of_classes(run: _Run) -> Counter[str]:
    return Counter(run.dataset.class_names[label - 1] for one in run.episodes for label in one.classes)


def _spread(run: _Run) -> Html:
    ious = [one.miou for one in run.scores]
    known = sorted(one for one in ious if one == one)
    if not known:
        return Html("")
    low, median = sum(one < 0.1 for one in known), known[(len(known) - 1) // 2]
    told = f"Episodes by IoU. Half of them lie above {percent(median)} %; {low:,} of {len(known):,} are below 10 %."
    return histogram(known, what=told)


def _all_section(run: _Run, drawn: Sequence[int]) -> Section:
    order = sorted(range(len(run.scores)), key=lambda place: _rank(run.scores[place]))[:MOST_ROWS]
    several = run.config["way"] > 1
    columns = [
        Column("IoU %", number=True),
        Column("episode", number=True),
        Column("class, IoU %" if several else "class"),
        Column("query"),
        Column("supports"),
    ]
    shown = set(drawn)
    rows = (_row(run, place, linked=place in shown) for place in order)
    what = f"{len(order):,} episodes, the worst first"
    body = table(columns, rows, anchor="all-episodes", what=what, sortable=True, sorted_by=0)
    left = len(run.scores) - len(order)
    note = f"The {left:,} best of them are left out, to keep this file small." if left else ""
    return Section("all", "All episodes", body, note)


def _rank(score: EpisodeScore) -> tuple[bool, float, int]:
    undefined = score.miou != score.miou
    return undefined, 0.0 if undefined else score.miou, score.index


def _row(run: _Run, place: int, *, linked: bool) -> list[Cell]:
    episode, score = run.episodes[place], run.scores[place]
    names = [run.dataset.class_names[label - 1] for label in episode.classes]
    known = score.miou == score.miou
    classes = ", ".join(name if len(names) == 1 else f"{name} {percent(score.class_ious.get(name))}" for name in names)
    supports = [image for label in episode.classes for image in episode.supports[label]]
    more = f" and {len(supports) - MOST_SUPPORTS} more" if len(supports) > MOST_SUPPORTS else ""
    number: object = episode.index
    if linked:
        number = element("a", episode.index, href=f"#episode-{place}")
    return [
        Cell(percent(score.miou if known else None), score.miou, score.miou),
        Cell(number, float(episode.index)),
        Cell(element("bdi", classes)),
        Cell(element("bdi", episode.query)),
        Cell(element("bdi", ", ".join(supports[:MOST_SUPPORTS]) + more)),
    ]


def made_section(config: Mapping[str, Any], command: str | None) -> Section:
    """How a run was made: the command, and all of its config."""
    body: list[Html] = []
    if command is not None:
        body += [element("p", "The command:"), element("pre", command)]
    plain = {key: value for key, value in config.items() if not _is_nested(value)}
    pairs: dict[str, object] = {
        key: ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
        for key, value in plain.items()
    }
    body.append(key_table(pairs))
    for key, value in config.items():
        if _is_nested(value):
            text = json.dumps(value, indent=1, ensure_ascii=False)
            body.append(element("details", element("summary", key), element("pre", text)))
    return Section("made", "How it was made", join(body, "\n"), "From the run's config.json.")


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))
