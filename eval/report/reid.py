"""The report of a re-identification run: RUN/report.html, with ranked lists of queries and why they are so.

It shows the images themselves: who may see them may see it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.episodes.scoring import METRICS, read_config
from eval.reid.data import Choice, open_images
from eval.reid.run import KIND
from eval.reid.tables import figures_table, notes_of, published_table, title_of
from eval.report.examples import Group, groups_of
from eval.report.html import Html, element, join
from eval.report.neighbours import HITS, Explainer, Neighbour, draw_list, frame_for_queries
from eval.report.page import Section, document, write_page
from eval.report.parts import Frame, figure_tile, histogram
from eval.report.searches import explainer_of
from eval.report.segmentation import REPORT, made_section
from eval.report.tables import to_grid
from eval.report.task import ReportTask
from eval.retrieval.begin import scores_file
from eval.retrieval.data import RetrievalImages
from eval.tables.table import percent
from fewshot_seg.errors import DataError, describe
from fewshot_seg.streams import Track, untracked

__all__ = ["write_reid_report"]

_RULE = "By average precision, ranked as the first way does it."
_PRIVATE = "This page shows the images of the data set: keep it as private as they are."


@dataclass(frozen=True, eq=False)
class _Lists:
    """What a run keeps of the first weights' lists.

    Attributes:
        queries: (Q,) places among the images.
        ways: names of the ways of ranking.
        ap: for each way (Q,) average precision, NaN without a right entry.
        neighbours, values: for each way (Q,n) places of the first entries, and how near they are.
    """

    queries: NDArray[np.int64]
    ways: list[str]
    ap: list[NDArray[np.float64]]
    neighbours: list[NDArray[np.int64]]
    values: list[NDArray[np.float32]]


def write_reid_report(task: ReportTask, track: Track = untracked) -> Path:
    """Write `task.out`/report.html, one file that needs no other.

    Returns:
        The file.

    Raises:
        DataError: not the folder of a finished run, or its images aren't those that it was made with.
        ImageError: an image can't be read. OutputError: the file can't be written.
    """
    config, metrics = read_config(task.out, KIND), _read_metrics(task.out)
    images = _open(config, task.root)
    lists = _read_lists(scores_file(task.out, config["weights"][0]["name"]))
    ids = [images.images.ids[place] for place in lists.queries.tolist()]
    groups = groups_of(lists.ap[0].tolist(), ids, task.examples, _RULE)
    explainer, problem = explainer_of(config, images, task.network) if groups else (None, "")
    notices = [_PRIVATE, *notes_of(config, metrics)[:1]]
    notices += [f"Attention is left out, for it can't be worked out again: {problem}"] if problem else []
    command = None if task.command is None else task.command(config, metrics, task.out)
    sections = [
        _figures_section(config, metrics),
        _queries_section(lists, groups, images, explainer, track),
        made_section(config, command),
    ]
    path = task.out / REPORT
    subtitle = f"{config['queries']:,} queries, gallery of {config['gallery']:,} images"
    write_page(path, document(f"{title_of(config)}: re-identification", subtitle, sections, notices=notices))
    return path


def _open(config: Mapping[str, Any], root: Path | None) -> RetrievalImages:
    names = ("boxes", "vehicles", "pattern", "split_file", "train_classes", "query_camera", "gallery_camera")
    options = {name: config[name] for name in (*names, "allow_missing")}
    folder = root or Path(config["root"])
    images = open_images(Choice(config["dataset"], folder, **options))
    if images.digest != config["images_sha256"]:
        raise DataError(
            f"{describe(folder)}: holds other images or identities than the run's; give its folder by --root"
        )
    return images


def _read_metrics(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{describe(out / METRICS)}: cannot be read ({error}); finish the run first") from error
    return found


def _read_lists(path: Path) -> _Lists:
    try:
        with np.load(path, allow_pickle=False) as stored:
            ways = stored["ways"].tolist()
            columns = [[stored[f"{name}{way}"] for way in range(len(ways))] for name in ("ap", "neighbours", "values")]
            return _Lists(stored["queries"], ways, *columns)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{describe(path)}: cannot be read; run the evaluation again") from error


def _figures_section(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> Section:
    first, level = metrics["systems"][0], metrics["bootstrap"]["level"]
    spans = first.get("intervals") or {}
    names = {"r1": "R1", "r5": "R5", "r10": "R10", "map": "mAP", "minp": "mINP"}
    tiles = [figure_tile(label, metrics[name], spans.get(name), level=level) for name, label in names.items()]
    body: list[Html] = [
        element("div", *tiles, class_="tiles"),
        to_grid(figures_table(config, metrics), "systems"),
        to_grid(published_table(config, metrics), "published"),
    ]
    return Section("figures", "Figures", join(body, "\n"), f"Of {first['weights']}, ranked by {first['way']}.")


def _queries_section(
    lists: _Lists, groups: Sequence[Group], images: RetrievalImages, explainer: Explainer | None, track: Track
) -> Section:
    drawn = sum(len(group.places) for group in groups)
    frame = frame_for_queries(drawn * len(lists.ways), explained=explainer is not None)
    body: list[Html] = [
        histogram(ap.tolist(), what=f"Queries by average precision, ranked by {way}")
        for way, ap in zip(lists.ways, lists.ap, strict=True)
    ]
    steps = iter(track([place for group in groups for place in group.places], drawn, "drawing"))
    for group in groups:
        body += [element("h3", group.title), element("p", group.note, class_="note")]
        for _ in group.places:
            body += _ranked(lists, next(steps), images, explainer, frame)
    for _ in steps:  # nothing is left, but the progress ends
        pass
    note = (
        "The first entries of a query's list, without those that the rules leave out: a whole frame is right, a "
        "dashed one wrong. Under each image, where its similarity comes from: each position's contribution to the "
        "cosine with the query, under the query with its first entry."
    )
    return Section("queries", "Queries", join(body, "\n"), note)


def _ranked(
    lists: _Lists, place: int, images: RetrievalImages, explainer: Explainer | None, frame: Frame
) -> list[Html]:
    """One query's lists, one for each way of ranking."""
    query = int(lists.queries[place])
    label = images.images.labels[query]
    articles = []
    for way, name in enumerate(lists.ways):
        near = zip(lists.neighbours[way][place][:HITS].tolist(), lists.values[way][place][:HITS].tolist(), strict=True)
        hits = [
            Neighbour(row, rank, f"{value:.3f}", images.images.labels[row] == label)
            for rank, (row, value) in enumerate(near, start=1)
            if row >= 0
        ]
        value = float(lists.ap[way][place])
        told = "no right entry" if value != value else f"AP {percent(value)} %"
        facts = [told, f"by {name}", element("bdi", images.images.ids[query])]
        articles.append(draw_list(query, hits, images, frame, explainer, facts, None))
    return articles
