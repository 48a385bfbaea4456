"""The report of a re-identification run: RUN/report.html, with ranked lists of queries and why they are so.

It shows the images themselves: who may see them may see it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eval.reid.data import Choice, open_images
from eval.reid.run import KIND
from eval.reid.tables import figures_table, notes_of, published_table, title_of
from eval.report.searches import Painter, Ranked, read_search
from eval.report.task import ReportTask
from eval.retrieval.begin import scores_file
from eval.retrieval.data import RetrievalImages
from eval.tables.table import percent
from fewshot_seg.errors import DataError, describe
from fewshot_seg.streams import Track, untracked

_RULE = "By average precision, ranked as the first way does it."
_CHOSEN = ("boxes", "vehicles", "pattern", "split_file", "train_classes", "query_camera", "gallery_camera")


def write_reid_report(task: ReportTask, track: Track = untracked) -> Path:
    """Write `task.out`/report.html, one file that needs no other.

    Returns:
        The file.

    Raises:
        DataError: not the folder of a finished run, or its images aren't those that it was made with.
        ImageError: an image can't be read. OutputError: the file can't be written.
    """
    run = read_search(task, KIND, _images)
    queries, ways = _read_lists(scores_file(task.out, run.config["weights"][0]["name"]))

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


def _images(config: Mapping[str, Any], root: Path) -> RetrievalImages:
    options = {name: config[name] for name in (*_CHOSEN, "allow_missing")}
    return open_images(Choice(config["dataset"], root, **options))


def _read_lists(path: Path) -> tuple[list[int], list[tuple[str, Any, Any, Any]]]:
    """What a run keeps of the first weights' lists.

    Returns:
        The queries' places among the images, and for each way of ranking its name, (Q,) average precision, NaN without
        a right entry, (Q,n) places of the first entries, and (Q,n) how near they are.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            kinds = ("ap", "neighbours", "values")
            ways = [(way, *(stored[f"{kind}{n}"] for kind in kinds)) for n, way in enumerate(stored["ways"].tolist())]
            return stored["queries"].tolist(), ways
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{describe(path)}: cannot be read; run the evaluation again") from error
