"""How time and memory grow with the work: queries, classes, shots, the image's side, the gallery of a search.

Each curve is measured in a process of its own, from the smallest amount to the largest, so that the peak of its memory
is the curve's. Between two amounts the growth has an order: the exponent of the power that leads from the one time to
the other. It is held against the order that the work itself has.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from eval.bench.growth_work import WORKS, Work
from eval.bench.machine import in_child, peak_mib
from eval.bench.setting import Setting
from eval.tables.table import Table
from fewshot_seg.imaging.export import atomic_file

_ENOUGH: Final = 0.5
"""Seconds after which an amount of work isn't measured again; before that, up to `_MOST` times."""
_MOST: Final = 5


@dataclass(frozen=True)
class Curve:
    """What grows.

    Attributes:
        title: what is done.
        what: of which there are more and more.
        amounts: how many, rising.
        order: of the work itself: 1 grows as fast as the amount, 2 as its square.
        why: says where the order comes from.
    """

    title: str
    what: str
    amounts: tuple[int, ...]
    order: float
    why: str


@dataclass(frozen=True)
class Point:
    """What one amount took: median seconds, and the process's peak so far in MiB."""

    amount: int
    seconds: float
    peak_mib: float


CURVES: Final = {
    "queries": Curve("Queries of one support", "queries", (1, 20, 200, 2000), 1, "each is one more"),
    "classes": Curve("One query, one support of each class", "classes", (1, 5, 10, 20), 1, "each is encoded once"),
    "shots": Curve(
        "One query, several supports of one class", "supports", (1, 5, 20, 50), 2, "each is matched with all others"
    ),
    "side": Curve("One square query", "pixels a side", (256, 512, 1024, 2048, 4096), 2, "pixels"),
    "gallery": Curve(
        "Exact search, 100 queries, 128 dimensions",
        "vectors",
        (1_000, 10_000, 100_000, 1_000_000),
        1,
        "each is looked at",
    ),
}


def measure_growth(
    setting: Setting, names: Sequence[str] = tuple(CURVES), most: int | None = None
) -> dict[str, list[Point]]:
    """The curves by name.

    Args:
        setting: root, weights and device are used.
        names: keys of `CURVES`.
        most: larger amounts are left out, but for each curve's smallest.

    Raises:
        FewShotError: from the work itself.
    """
    given = (setting.root, setting.weights, setting.device)
    found = {}
    for name in setting.track(list(names), len(names), "curves"):
        first, *others = CURVES[name].amounts
        amounts = [first, *(one for one in others if most is None or one <= most)]
        found[name] = in_child(points_of, name, amounts, *given)
    return found


def points_of(name: str, amounts: Sequence[int], root: Path | None, weights: str, device: str) -> list[Point]:
    """One curve, in this process.

    `name` is a key of `CURVES`, the amounts rise; the rest as in `Setting`.
    """
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(root, weights, device)
        work = WORKS[name](setting, Path(folder), max(amounts))
        work.ready(min(amounts))
        work.run(min(amounts))  # what is made at first use is no part of the work
        return [Point(amount, _median_seconds(work, amount), peak_mib()) for amount in amounts]


def exponents(points: Sequence[Point]) -> list[float | None]:
    """The order of growth of time from each point's predecessor to it; None for the first."""
    found: list[float | None] = [None]
    for before, after in itertools.pairwise(points):
        found.append(math.log(after.seconds / before.seconds) / math.log(after.amount / before.amount))
    return found


def growth_tables(curves: dict[str, list[Point]]) -> list[Table]:
    """One table for each curve."""
    tables = []
    for name, points in curves.items():
        curve = CURVES[name]
        rows = tuple(
            (f"{one.amount:,}", f"{one.seconds:.3g}", "-" if order is None else f"{order:.2f}", f"{one.peak_mib:,.0f}")
            for one, order in zip(points, exponents(points), strict=True)
        )
        note = f"The work's own order is {curve.order:g}: {curve.why}."
        tables.append(Table(curve.title, (curve.what, "s", "order", "peak MiB"), rows, (note,), names=0))
    return tables


def to_json(curves: dict[str, list[Point]]) -> dict[str, Any]:
    """JSON values: each curve's points and the orders between them."""
    return {
        name: {"order": CURVES[name].order, "points": [asdict(one) for one in points], "orders": exponents(points)}
        for name, points in curves.items()
    }


def _median_seconds(work: Work, amount: int) -> float:
    work.ready(amount)
    seconds: list[float] = []
    while len(seconds) < _MOST and sum(seconds) < _ENOUGH:
        start = time.perf_counter()
        work.run(amount)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def draw_growth(path: Path, curve: Curve, points: Sequence[Point]) -> None:
    """A PNG of some 20 KB: the time with the work's own order beside it, and the peak of memory.

    Raises:
        OutputError: it can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((8, 3), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    amounts = [one.amount for one in points]
    time, memory = figure.subplots(1, 2)
    time.loglog(amounts, [one.seconds for one in points], "o-", label="measured")
    last = points[-1]
    own = [last.seconds * (amount / last.amount) ** curve.order for amount in amounts]
    time.loglog(amounts, own, ":", color="grey", label=f"order {curve.order:g}, through the last")
    time.set(xlabel=curve.what, ylabel="seconds", title=curve.title)
    time.legend(fontsize=8)
    memory.semilogx(amounts, [one.peak_mib for one in points], "o-")
    memory.set(xlabel=curve.what, ylabel="peak MiB", ylim=(0, 1.15 * max(one.peak_mib for one in points)))
    for axes in (time, memory):
        axes.title.set_fontsize(10)
        axes.grid(visible=True, alpha=0.3)
    with atomic_file(path) as stream:
        figure.savefig(stream, format="png")
