"""The figures of a segmentation report, all of them from metrics.json, and what a reader has to know of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.episodes.matchers import KNOWN, matcher_words
from eval.report.html import Html, element, join
from eval.report.page import Section
from eval.report.parts import Bar, Cell, Column, bars, figure_tile, key_table, table
from eval.tables.table import percent

__all__ = ["classes_section", "figures_section", "notices_of"]

_MEANS = {
    "miou": ("Class mean IoU", "the mean over classes"),
    "fb_iou": ("FB-IoU", "foreground and background"),
    "binary_iou": ("Binary IoU", "as the paper's peers count"),
    "boundary_f": ("Boundary F", "of outlines"),
}

_MOST_NAMES = 15  # in a sentence

Metrics = Mapping[str, Any]


def figures_section(config: Mapping[str, Any], metrics: Metrics) -> Section:
    """The headline figures, every method's means where there are several, and what else was counted."""
    names = [name for name in _MEANS if name in metrics]
    level = (metrics.get("bootstrap") or {}).get("level", 0.95)
    tiles = [
        figure_tile(_MEANS[name][0], metrics[name], _interval(metrics, name), note=_MEANS[name][1], level=level)
        for name in names
    ]
    body: list[Html] = [element("div", *tiles, class_="tiles")]
    if len(metrics["methods"]) > 1:
        body += [element("h3", "Methods"), _methods(metrics, names)]
    if more := _more(config, metrics):
        body += [element("h3", "Counted otherwise"), key_table(more)]
    return Section("figures", "Figures", join(body, "\n"), _note(metrics))


def classes_section(metrics: Metrics, episodes: Mapping[str, int]) -> Section:
    """A bar for each class, the best first, with its episodes' number and the other methods' values."""
    others = [name for name in metrics["methods"] if name != metrics["method"]]
    per_class: dict[str, float] = metrics["per_class"]
    intervals = _intervals(metrics).get("per_class") or {}
    items = [
        Bar(
            name,
            value,
            _wide(intervals.get(name)),
            {other: metrics["methods"][other]["per_class"].get(name) for other in others},
            f"{episodes.get(name, 0):,}",
        )
        for name, value in sorted(per_class.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    chart = bars(items, what="IoU of each class in per cent", own=metrics["method"])
    return Section("classes", "Classes", chart, "IoU in per cent; after a name, in how many episodes the class is.")


def notices_of(config: Mapping[str, Any], metrics: Metrics) -> Iterator[str]:
    """What a reader has to know before any figure, from a run's config and metrics."""
    if missing := metrics.get("missing_images"):
        yield f"{missing:,} images of the list are missing from the data: these aren't the figures of the whole list."
    if left_out := metrics["classes_left_out"]:
        yield f"Left out, for having too few images: {_listed(left_out)}."
    if unseen := metrics["classes_without_episodes"]:
        yield f"No episode had: {_listed(unseen)}."
    if matcher_words(config, str(metrics["method"])) == KNOWN:
        yield "The matcher was trained with masks of classes that are looked for here, as far as its file tells."
    if config["way"] > 1 or config.get("absent"):
        held, count = metrics["queries_with_all_classes"], metrics["episodes"]
        yield f"In {held:,} of {count:,} episodes the query holds all of its classes."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _wide(interval: list[float] | None) -> list[float] | None:
    """None for an interval of no width: a class in one image only, of which resampling tells nothing."""
    return None if interval is None or interval[0] == interval[1] else interval


def _methods(metrics: Metrics, names: list[str]) -> Html:
    columns = [Column("method"), *(Column(f"{_MEANS[name][0]} %", number=True) for name in names)]
    rows = [
        [Cell(method), *(Cell(_with_interval(scores, name), scores[name]) for name in names)]
        for method, scores in metrics["methods"].items()
    ]
    return table(columns, rows, anchor="methods", what="The methods' means, on the same episodes")


def _more(config: Mapping[str, Any], metrics: Metrics) -> dict[str, object]:
    """Figures by name that only some runs have, or only some readers want."""
    more: dict[str, object] = {}
    panet = metrics.get("as_panet") or {}
    if panet and (config["way"] > 1 or panet["runs"] > 1):
        for name in ("miou", "binary_iou"):
            spread = f" ± {percent(panet[f'{name}_std'])} over {panet['runs']} runs" if panet["runs"] > 1 else ""
            more[f"{_MEANS[name][0]}, as PANet counts"] = f"{percent(panet[name])} %{spread}"
    if len(per_shot := metrics.get("per_shot") or {}) > 1:
        more |= {f"Class mean IoU, {shot}-shot episodes": f"{percent(one['miou'])} %" for shot, one in per_shot.items()}
    presence = metrics.get("presence") or {}
    if presence.get("absent"):
        found, empty = percent(presence["present_found"]), percent(presence["absent_left_empty"])
        more["Classes in the query"] = f"{presence['present']:,}, of which {found} % got a mask"
        more["Classes not in the query"] = f"{presence['absent']:,}, of which {empty} % were left without one"
    if presence.get("auroc") is not None:
        span = presence.get("auroc_interval")
        spread = f" ({percent(span[0])} to {percent(span[1])})" if span else ""
        more["AUROC of the scores, present against absent"] = f"{percent(presence['auroc'])} %{spread}"
        more["Class mean IoU where the query holds all classes"] = f"{percent(metrics['holding_all']['miou'])} %"
    return more


def _note(metrics: Metrics) -> str:
    told = metrics.get("bootstrap") or {}
    if not metrics.get("intervals"):
        return "In per cent."
    return f"In per cent, with {told['level']:.0%} intervals by bootstrap over {told['over']}."


def _with_interval(scores: Metrics, name: str) -> Html:
    span = _interval(scores, name)
    return join([percent(scores[name]), element("small", f" {percent(span[0])}–{percent(span[1])}") if span else ""])


def _interval(scores: Metrics, name: str) -> list[float] | None:
    return _intervals(scores).get(name)


def _intervals(scores: Metrics) -> dict[str, Any]:
    return scores.get("intervals") or {}
