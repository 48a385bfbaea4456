"""The report of a retrieval run: RUN/report.html, from the run's folder and its images."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from eval.report.searches import Painter, Ranked, read_search
from eval.report.task import MOST_ROWS, ReportTask
from eval.retrieval.begin import scores_file
from eval.retrieval.data import Choice, open_images
from eval.retrieval.run import KIND
from eval.retrieval.scoring import load_scores
from eval.retrieval.tables import dataset_title, figures_table
from eval.tables.table import percent
from fewshot_seg.streams import Track, untracked

MOST_CLASSES = 100  # bars
_RULE = "By MAP@R: the precision at each of the first R neighbours that is right, R as many as there are of the class."


def write_retrieval_report(task: ReportTask, track: Track = untracked) -> Path:
    """Write and return `task.out`/report.html, one file that needs no other; errors as `read_search` and `write`."""
    run = read_search(task, KIND, lambda config, root: open_images(Choice.of(config, root)))
    metrics, images = run.metrics, run.images.images
    scores = load_scores(scores_file(task.out, metrics["method"]))
    queries, values = scores.queries.tolist(), scores.map_at_r.tolist()
    classes = [images.names[images.labels[query]] for query in queries]
    own = metrics["methods"][metrics["method"]]

    def draw(place: int, anchor: int | None, painter: Painter) -> list[Ranked]:
        query, rows = queries[place], scores.neighbours[place].tolist()
        label = images.labels[query]
        first = next((rank for rank, row in enumerate(rows, 1) if row >= 0 and images.labels[row] == label), None)
        found = f"first of its class: rank {first}" if first else "none of its class among the first"
        facts = [f"MAP@R {percent(values[place])} %", found]
        near = scores.similarities[place].tolist()
        return [painter.draw(query, rows, near, facts, None if anchor is None else f"query-{anchor}")]

    order = sorted(range(len(values)), key=lambda place: (math.isnan(values[place]), values[place]))
    return run.write(
        "retrieval.html",
        queries,
        values,
        _RULE,
        draw,
        track,
        data=dataset_title(run.config),
        own=own,
        figures=figures_table(run.config, metrics),
        bars=sorted(own["per_class"].items(), key=lambda pair: (-pair[1], pair[0])),
        most=MOST_CLASSES,
        others={name: one["per_class"] for name, one in metrics["methods"].items() if name != metrics["method"]},
        counts=Counter(classes),
        known=sorted(value for value in values if not math.isnan(value)),
        rows=[(place, values[place], queries[place], int(scores.neighbours[place, 0])) for place in order[:MOST_ROWS]],
    )
