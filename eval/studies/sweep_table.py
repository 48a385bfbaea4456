"""A sweep as a table for people."""

from __future__ import annotations

import math

from eval.studies.compare_tables import estimate_text, p_text
from eval.studies.sweep import Choice, Point, SweepResult, setting_text
from eval.tables.table import Table, percent


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
