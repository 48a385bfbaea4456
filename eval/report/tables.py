"""Tables as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from eval.report.html import Html, element, join
from eval.report.page import Section, document
from eval.report.parts import Cell, Column, table
from eval.tables.table import Table

__all__ = ["to_grid", "to_html"]


def to_html(title: str, subtitle: str, tables: Sequence[Table]) -> str:
    """Tables as a page of its own, which asks for nothing else."""
    sections = [
        Section(f"table-{number}", one.title, to_grid(one, f"rows-{number}")) for number, one in enumerate(tables)
    ]
    return document(title, subtitle, sections)


def to_grid(one: Table, anchor: str) -> Html:
    """One table, with its notes under it, as a part of a page."""
    columns = [Column(name, place >= one.names) for place, name in enumerate(one.columns)]
    rows = [[Cell(text) for text in row] for row in one.rows]
    grid = table(columns, rows, anchor=anchor, what=one.title)
    return join([grid, *(element("p", note, class_="note") for note in one.notes)], Html("\n"))
