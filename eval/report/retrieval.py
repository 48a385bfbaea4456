"""The report of a retrieval run: RUN/report.html, from the run's folder and its images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.episodes.scoring import METRICS, read_config
from eval.report.examples import Group, groups_of
from eval.report.html import Html, element, join
from eval.report.neighbours import Explainer, draw_query, frame_for_queries
from eval.report.page import Section, document, write_page
from eval.report.parts import Bar, Cell, Column, bars, figure_tile, histogram, table
from eval.report.searches import explainer_of
from eval.report.segmentation import MOST_ROWS, REPORT, made_section
from eval.report.tables import to_grid
from eval.report.task import ReportTask
from eval.retrieval.begin import scores_file
from eval.retrieval.data import Choice, RetrievalImages, open_images
from eval.retrieval.run import KIND
from eval.retrieval.scoring import QueryScores, load_scores
from eval.retrieval.tables import dataset_title, figures_table
from eval.tables.table import percent
from fewshot_seg.errors import DataError, describe
from fewshot_seg.streams import Track, untracked

__all__ = ["write_retrieval_report"]

MOST_CLASSES = 100  # bars


@dataclass(frozen=True, eq=False)
class _Run:
    """A run's folder, read; `scores` are those of its first weights."""

    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    images: RetrievalImages
    scores: QueryScores

    @property
    def method(self) -> str:
        return str(self.metrics["method"])

    def name(self, place: int) -> str:
        """The class of the query at a place."""
        return self.images.images.names[self.images.images.labels[int(self.scores.queries[place])]]


def write_retrieval_report(task: ReportTask, track: Track = untracked) -> Path:
    """Write `task.out`/report.html, one file that needs no other.

    Attention isn't kept in a run's folder: it is worked out for the queries that are drawn, and left out, with a word
    on why, where that can't be done.

    Returns:
        The file.

    Raises:
        DataError: not the folder of a finished run, or its images aren't those that it was made with.
        ImageError: an image can't be read. OutputError: the file can't be written.
    """
    run = _read(task)
    ids = [run.images.images.ids[place] for place in run.scores.queries.tolist()]
    rule = (
        "By MAP@R: the precision at each of the first R neighbours that is right, R as many as there are of the class."
    )
    groups = groups_of(run.scores.map_at_r.tolist(), ids, task.examples, rule)
    explainer, problem = explainer_of(run.config, run.images, task.network) if groups else (None, "")
    notices = [f"Attention is left out, for it can't be worked out again: {problem}"] if problem else []
    sections = [
        _figures_section(run),
        _classes_section(run),
        _queries_section(run, groups, explainer, track),
        _all_section(run, {place for group in groups for place in group.places}),
        made_section(run.config, None if task.command is None else task.command(run.config, run.metrics, task.out)),
    ]
    path = task.out / REPORT
    write_page(path, document(_title(run.config), _subtitle(run), sections, notices=notices))
    return path


def _read(task: ReportTask) -> _Run:
    config = read_config(task.out, KIND)
    path = task.out / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{describe(path)}: cannot be read ({error}); run the evaluation to its end first") from error
    root = Path(config["root"]) if task.root is None else task.root
    told = {key: config[key] for key in ("dataset", "split", "classes", "split_file", "allow_missing")}
    images = open_images(Choice(root=root, **told))
    if images.digest != config["images_sha256"]:
        raise DataError(f"{describe(root)}: holds other images or classes than the run's; give its folder by --root")
    return _Run(config, metrics, images, load_scores(scores_file(task.out, metrics["method"])))


def _title(config: Mapping[str, Any]) -> str:
    return f"{dataset_title(config)}: retrieval"


def _subtitle(run: _Run) -> str:
    counts = f"{run.config['queries']:,} queries of {run.metrics['classes']:,} classes"
    return f"{counts}, gallery of {run.config['gallery']:,}; weights {', '.join(run.metrics['methods'])}"


def _figures_section(run: _Run) -> Section:
    own = run.metrics["methods"][run.method]
    spans, level = own.get("intervals") or {"recall": {}}, run.metrics["bootstrap"]["level"]
    tiles = [
        figure_tile(f"R@{k}", value, spans["recall"].get(k), note="one of the class among the nearest", level=level)
        for k, value in own["recall"].items()
    ]
    tiles.append(figure_tile("MAP@R", own["map_at_r"], spans.get("map_at_r"), note="order of the class", level=level))
    if own["nmi"] is not None:
        tiles.append(figure_tile("NMI", own["nmi"], note="of k-means clusters with the classes"))
    shown = figures_table(run.config, run.metrics)
    body: list[Html] = [element("div", *tiles, class_="tiles"), to_grid(shown, "weights")]
    return Section("figures", "Figures", join(body, "\n"), f"Of {run.method}, in per cent.")


def _classes_section(run: _Run) -> Section:
    per_class: Mapping[str, float] = run.metrics["methods"][run.method]["per_class"]
    counts = Counter(run.name(place) for place in range(len(run.scores.queries)))
    others = {name: figures["per_class"] for name, figures in run.metrics["methods"].items() if name != run.method}
    order = sorted(per_class, key=lambda name: (-per_class[name], name))
    items = [
        Bar(name, per_class[name], None, {one: values.get(name) for one, values in others.items()}, f"{counts[name]:,}")
        for name in order[-MOST_CLASSES:]
    ]
    k = run.config["ks"][0]
    left = len(order) - len(items)
    note = f"R@{k} in per cent; after a name, its queries." + (f" The {left:,} best are left out." if left else "")
    return Section("classes", "Classes", bars(items, what=f"R@{k} of each class in per cent", own=run.method), note)


def _queries_section(run: _Run, groups: Sequence[Group], explainer: Explainer | None, track: Track) -> Section:
    places = [place for group in groups for place in group.places]
    frame = frame_for_queries(len(places), explained=explainer is not None)
    drawn = iter(
        [
            draw_query(run.scores, place, run.images, frame, explainer, _anchor(places, turn))
            for turn, place in track(list(enumerate(places)), len(places), "drawing")
        ]
    )
    body: list[Html] = [_spread(run)]
    for group in groups:
        body += [element("h3", group.title), element("p", group.note, class_="note")]
        body += [next(drawn) for _ in group.places]
    note = (
        "The nearest images of a query, the nearest first: a whole frame is right, a dashed one wrong, the number the "
        "cosine. Under each photograph, where its similarity comes from: each position's contribution to the cosine "
        "with the query, under the query with its first hit."
    )
    return Section("queries", "Queries", join(body, "\n"), note)


def _anchor(places: Sequence[int], turn: int) -> str | None:
    """The id of an article; only the first of a query's has one."""
    return None if places[turn] in places[:turn] else f"query-{places[turn]}"


def _spread(run: _Run) -> Html:
    known = sorted(value for value in run.scores.map_at_r.tolist() if value == value)
    if not known:
        return Html("")
    told = f"Queries by MAP@R. Half of them lie above {percent(known[(len(known) - 1) // 2])} %."
    return histogram(known, what=told)


def _all_section(run: _Run, drawn: set[int]) -> Section:
    values = run.scores.map_at_r.tolist()
    order = sorted(range(len(values)), key=lambda place: (values[place] != values[place], values[place]))[:MOST_ROWS]
    columns = [Column("MAP@R %", number=True), Column("query"), Column("class"), Column("nearest"), Column("its class")]
    rows = [_row(run, place, linked=place in drawn) for place in order]
    what = f"{len(order):,} queries, the worst first"
    body = table(columns, rows, anchor="all-queries", what=what, sortable=True, sorted_by=0)
    left = len(values) - len(order)
    note = f"The {left:,} best of them are left out, to keep this file small." if left else ""
    return Section("all", "All queries", body, note)


def _row(run: _Run, place: int, *, linked: bool) -> list[Cell]:
    value = float(run.scores.map_at_r[place])
    images = run.images.images
    query, nearest = int(run.scores.queries[place]), int(run.scores.neighbours[place, 0])
    shown: Html = element("bdi", images.ids[query])
    return [
        Cell(percent(None if value != value else value), value, value),
        Cell(element("a", shown, href=f"#query-{place}") if linked else shown),
        Cell(element("bdi", run.name(place))),
        Cell(element("bdi", images.ids[nearest] if nearest >= 0 else "-")),
        Cell(element("bdi", images.names[images.labels[nearest]] if nearest >= 0 else "-")),
    ]
