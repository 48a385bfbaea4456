"""What reports are put together from: figures with their intervals, bars, a histogram, tables, pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eval.report.html import Html, element, join
from eval.report.page import data_uri
from eval.tables.table import percent

__all__ = [
    "Bar",
    "Cell",
    "Column",
    "Frame",
    "bars",
    "case",
    "figure_tile",
    "histogram",
    "key_table",
    "key_to_colours",
    "picture",
    "table",
]

Interval = Sequence[float] | None
"""[low, high], shares in [0, 1]; None where there is none."""


def figure_tile(
    label: str, value: float | None, interval: Interval = None, *, note: str = "", level: float = 0.95
) -> Html:
    """One headline figure, a share in [0, 1], in per cent, with its interval as text and drawn on 0 to 100."""
    parts = [element("dt", label), element("dd", percent(value), element("small", "%"), class_="value")]
    if value is not None:
        parts.append(element("dd", _scale(value, interval), class_="drawn", aria_hidden="true"))
    if note:
        parts.append(element("dd", note))
    if interval is not None:
        parts.append(element("dd", f"{100 * level:g} % interval {_range(interval)}"))
    return element("dl", *parts, class_="tile")


@dataclass(frozen=True)
class Bar:
    """A bar's name, its value (a share in [0, 1], or None), interval, and others' values to mark on it by name."""

    name: str
    value: float | None
    interval: Interval = None
    marks: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""


def bars(items: Sequence[Bar], *, what: str, own: str) -> Html:
    """Horizontal bars from 0 to 100 per cent, each with its value as text.

    Args:
        items: from top to bottom.
        what: the table's caption, for those who hear it.
        own: whose values the bars are; shown as a key where there are marks.
    """
    marks = list(dict.fromkeys(name for one in items for name in one.marks))
    rows = [
        element(
            "tr",
            element("th", element("bdi", one.name), " ", element("small", one.note), scope="row"),
            element("td", _scale(one.value, one.interval, _places(one, marks)), class_="drawn"),
            element("td", percent(one.value), class_="value"),
            element("td", _range(one.interval) if one.interval is not None else "", class_="range"),
        )
        for one in items
    ]
    chart = element("table", element("caption", what), element("tbody", *rows), class_="bars")
    if not marks:
        return chart
    names = [element("span", own, class_="own")]
    names += [element("span", name, class_=f"mark m{place % 5}") for place, name in enumerate(marks)]
    return join([element("p", *names, class_="key"), chart])


def histogram(values: Iterable[float], *, what: str, bins: int = 20) -> Html:
    """How often shares in [0, 1] fall into `bins` equal parts; values that aren't numbers are left out."""
    shares = [value for value in values if not math.isnan(value)]
    counts, edges = np.histogram(shares, bins=bins, range=(0, 1))
    top = max(int(counts.max()), 1)
    columns = [
        element(
            "li",
            element("span", f"{100 * edges[place]:.0f} to {100 * edges[place + 1]:.0f} %: {count}"),
            style=f"--h:{100 * count / top:.1f}%",
            title=f"{100 * edges[place]:.0f} to {100 * edges[place + 1]:.0f} %: {count}",
        )
        for place, count in enumerate(counts.tolist())
    ]
    axis = element("p", *(element("span", f"{share} %") for share in (0, 25, 50, 75, 100)), class_="axis")
    chart = element("ol", *columns, aria_label=what)
    return element("figure", chart, axis, element("figcaption", what), class_="histogram")


@dataclass(frozen=True)
class Column:
    """A table's column: its title, and whether its cells are numbers (flush right, sorted by value)."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: what it shows, and the value it is sorted by; `share` in [0, 1] draws a bar behind it."""

    content: object
    value: float | None = None
    share: float | None = None


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    anchor: str,
    what: str,
    sortable: bool = False,
    sorted_by: int | None = None,
) -> Html:
    """A table; a sortable one has buttons in its head and a box that filters its rows, where scripts run.

    Args:
        columns: their titles.
        rows: cells, as many as columns.
        anchor: the table's id.
        what: its caption.
        sortable: as said.
        sorted_by: the column that the rows are in the ascending order of.
    """
    heads = [
        element(
            "th",
            one.title,
            scope="col",
            class_="number" if one.number else None,
            aria_sort="ascending" if place == sorted_by else None,
        )
        for place, one in enumerate(columns)
    ]
    body = [element("tr", *(_cell(cell, columns[place]) for place, cell in enumerate(row))) for row in rows]
    inner = [
        element("caption", what),
        element("thead", element("tr", *heads)),
        element("tbody", join(body, "\n")),
    ]
    whole = element("table", *inner, id=anchor, class_="sortable" if sortable else "plain")
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=what)


def key_table(rows: Mapping[str, object]) -> Html:
    """Names and values, one a line."""
    body = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows.items()]
    return element("table", element("tbody", *body), class_="pairs")


@dataclass(frozen=True)
class Frame:
    """How large pictures may be: their longer edge in pixels, and the length of each in the page."""

    side: int = 320
    limit: int | None = None

    @property
    def half(self) -> Frame:
        """Half as wide and high."""
        return Frame(self.side // 2, None if self.limit is None else self.limit // 4)


def picture(image: NDArray[np.uint8], alt: str, frame: Frame, caption: object = "", class_: str = "") -> Html:
    """A captioned picture of an (H, W, 3) uint8 RGB image."""
    uri, width, height = data_uri(image, frame.side, frame.limit)
    drawn = element("img", src=uri, alt=alt, width=width, height=height, loading="lazy", decoding="async")
    return element("figure", drawn, element("figcaption", caption), class_=f"picture {class_}".strip())


def case(anchor: str | None, heading: object, facts: Sequence[object], cells: Sequence[Html]) -> Html:
    """One example: a line of facts over a row of pictures (`picture` with class_ "k1" to "k6", its column)."""
    told = [element("span", one) for one in facts]
    return element(
        "article",
        element("header", element("b", heading), *told),
        element("div", *cells, class_="cells"),
        id=anchor,
        class_="case",
    )


def key_to_colours(colours: Mapping[str, tuple[int, int, int]], lead: str = "") -> Html:
    """What colours (RGB) stand for, on one line."""
    chips = [
        element("span", element("i", style=f"background:rgb{rgb}"), element("bdi", name))
        for name, rgb in colours.items()
    ]
    return element("p", lead, *chips, class_="key")


def _cell(cell: Cell, column: Column) -> Html:
    value = None if cell.value is None or math.isnan(cell.value) else f"{cell.value:.6g}"
    style = None if cell.share is None or math.isnan(cell.share) else f"--s:{100 * cell.share:.1f}%"
    kinds = ["number"] * column.number + ["share"] * (style is not None)
    return element("td", cell.content, class_=" ".join(kinds) or None, data_v=value, style=style)


def _scale(value: float | None, interval: Interval, marks: Sequence[Html] = ()) -> Html:
    inner: list[Html] = []
    if value is not None:
        inner.append(element("span", class_="bar", style=f"width:{_position(value)}"))
    if interval is not None:
        low, high = interval
        inner.append(element("span", class_="whisker", style=f"left:{_position(low)};width:{_position(high - low)}"))
    return element("span", *inner, *marks, class_="scale")


def _places(bar: Bar, names: Sequence[str]) -> list[Html]:
    marks = [(place, name, bar.marks.get(name)) for place, name in enumerate(names)]
    return [
        element(
            "span", class_=f"mark m{place % 5}", style=f"left:{_position(value)}", title=f"{name}: {percent(value)}"
        )
        for place, name, value in marks
        if value is not None
    ]


def _position(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _range(interval: Sequence[float]) -> str:
    return f"{percent(interval[0])}–{percent(interval[1])}"
