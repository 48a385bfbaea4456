"""One table, for people: in a terminal, in Markdown, or in HTML (`eval.report.page`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Table:
    """Text in rows.

    Attributes:
        title: one line.
        columns: the first `names` are text, the others are flush right.
        rows: as long as `columns`.
        notes: sentences under it.
        names: see `columns`.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    names: int = 1

    def without_empty_columns(self) -> Table:
        """The same without columns that hold "" or "-" only."""
        keep = [
            place
            for place in range(len(self.columns))
            if place < self.names or any(row[place] not in ("", "-") for row in self.rows)
        ]
        rows = tuple(tuple(row[place] for place in keep) for row in self.rows)
        return replace(self, columns=tuple(self.columns[place] for place in keep), rows=rows)


def percent(share: float | None, sign: str = "") -> str:
    """0.123 -> "12.3"; None and NaN, for what has no value, are "-"; `sign` "+" signs it."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:{sign}.1f}"


def span(value: str, interval: Sequence[float] | None, sign: str = "") -> str:
    """A figure with its interval, "41.6" and [0.39, 0.44] to "41.6 (39.0 to 44.0)"; `sign` "+" signs the interval."""
    return value if interval is None else f"{value} ({100 * interval[0]:{sign}.1f} to {100 * interval[1]:{sign}.1f})"


def markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, each under its title."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def _markdown(table: Table) -> str:
    lines = [
        f"**{_plain(table.title)}**",
        "",
        _row(table.columns),
        _row(["---" if place < table.names else "---:" for place in range(len(table.columns))]),
        *map(_row, table.rows),
    ]
    if table.notes:
        lines += ["", *(f"{_plain(note)}  " for note in table.notes[:-1]), _plain(table.notes[-1])]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return " ".join(text.split()).translate({ord(special): f"\\{special}" for special in "\\|<*_`["})
