"""The report of a re-identification run: RUN/report.html, with ranked lists of queries and why they are so.

It shows the images themselves: who may see them may see it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.reid.data import Choice, open_images
from eval.reid.run import KIND
from eval.reid.tables import figures_table, notes_of, published_table, title_of
from eval.report.searches import Painter, Ranked, read_search
from eval.report.task import ReportTask
from eval.retrieval.begin import load_arrays, scores_file
from eval.tables.table import percent
from fewshot_seg.streams import Track, untracked

_RULE = "By average precision, ranked as the first way does it."


def write_reid_report(task: ReportTask, track: Track = untracked) -> Path:
    """Write and return `task.out`/report.html, one file that needs no other; errors as `read_search` and `write`."""
    run = read_search(task, KIND, lambda config, root: open_images(Choice.of(config, root)))
    queries, ways = load_arrays(scores_file(task.out, run.config["weights"][0]["name"]), _lists)

    def draw(place: int, anchor: int | None, painter: Painter) -> list[Ranked]:
        drawn = []
        for name, ap, rows, near in ways:
            told = "no right entry" if math.isnan(ap[place]) else f"AP {percent(ap[place])} %"
            drawn.append(painter.draw(queries[place], rows[place].tolist(), near[place].tolist(), [told, f"by {name}"]))
        return drawn

    return run.write(
        "reid.html",
        queries,
        ways[0][1].tolist(),
        _RULE,
        draw,
        track,
        lists=len(ways),
        data=title_of(run.config),
        first=run.metrics["systems"][0],
        left_out=notes_of(run.config, run.metrics)[0],
        tables=[figures_table(run.config, run.metrics), published_table(run.config, run.metrics)],
        ways=ways,
    )


def _lists(stored: Mapping[str, Any]) -> tuple[list[int], list[tuple[str, Any, Any, Any]]]:
    """What a run keeps of the first weights' lists.

    Returns:
        The queries' places among the images, and for each way of ranking its name, (Q,) average precision, NaN without
        a right entry, (Q,n) places of the first entries, and (Q,n) how near they are.
    """
    kinds = ("ap", "neighbours", "values")
    ways = [(way, *(stored[f"{kind}{n}"] for kind in kinds)) for n, way in enumerate(stored["ways"].tolist())]
    return stored["queries"].tolist(), ways
