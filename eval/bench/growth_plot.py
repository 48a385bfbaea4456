"""Growth as pictures: time and memory over the amount of work, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.bench.growth import Curve, Point
from fewshot_seg.imaging.export import atomic_file


def draw_growth(path: Path, curve: Curve, points: Sequence[Point]) -> None:
    """A PNG of some 20 KB: the time with the work's own order beside it, and the peak of memory.

    Args:
        path: the file.
        curve: what grows.
        points: at least one.

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
