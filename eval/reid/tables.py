"""A re-identification run's figures as a table for people, beside every published one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eval.tables.published import read_published
from eval.tables.table import Table, percent, span

TITLES: Final = {
    "market": "Market-1501",
    "duke": "DukeMTMC-reID",
    "cuhk03": "CUHK03-NP",
    "msmt17": "MSMT17",
    "veri": "VeRi-776",
    "vehicleid": "VehicleID",
    "csv": "a table",
    "named": "named images",
}
_COLUMNS: Final = {
    "r1": "R1",
    "r5": "R5",
    "r10": "R10",
    "map": "mAP",
    "minp": "mINP",
    "map_trapezoid": "mAP, trapezoid",
}


def title_of(config: Mapping[str, Any]) -> str:
    """What was measured on, in words; a set in a published one's layout that is not complete is not that set."""
    kind = config["dataset"]
    title = TITLES[kind]
    if kind == "cuhk03":
        title += f" ({config['boxes'] or 'detected'})"
    if kind == "vehicleid":
        title += f" ({config['vehicles'] or 800} vehicles)"
    return f"a set in the layout of {title}" if config["allow_missing"] and kind in ("market", "duke") else title


def figures_table(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> Table:
    """One row for each of the run's weights and ways of ranking."""
    rows = []
    for one in metrics["systems"]:
        spans = one.get("intervals") or {}
        rows.append((one["weights"], one["way"], *(span(percent(one[name]), spans.get(name)) for name in _COLUMNS)))
    title = f"Re-identification in per cent, {title_of(config)}: {config['queries']:,} queries of "
    title += f"{metrics['identities']:,} identities, {config['gallery']:,} gallery images"
    return Table(title, ("weights", "ranked by", *_COLUMNS.values()), tuple(rows), tuple(notes_of(config, metrics)), 2)


def published_table(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> Table:
    """Every published row, and the run's first figures where they are of the same set."""
    own = config["dataset"]
    published = read_published("reid")
    rows = [(TITLES[row["dataset"]], *(row[name] for name in ("method", "r1", "map", "source"))) for row in published]
    first = metrics["systems"][0]
    mine = (title_of(config), f"{first['weights']}, {first['way']}", percent(metrics["r1"]), percent(metrics["map"]))
    note = "Published figures come from networks, sizes and training data of their own, and have no re-ranking."
    same = any(row["dataset"] == own for row in published) and not config["allow_missing"] and not _other_part(config)
    notes = (note,) if same else (note, "This run is on other images than all of them: it can't be compared with them.")
    columns = ("data set", "method", "R1", "mAP", "source")
    return Table("Published figures", columns, ((*mine, "this run"), *rows), notes, names=2)


def notes_of(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What has to be known of the figures, in sentences."""
    notes = [_rule(config), "Of equally near entries the wrong ones come first."]
    if config["protocol"]["single"]:
        drawn = f"{config['protocol']['repeats']} times with seeds from {config['protocol']['seed']}"
        notes.append(f"One gallery image of each identity is drawn, {drawn}; a query that is drawn doesn't ask.")
    if metrics["bootstrap"]["samples"]:
        level = f"{100 * metrics['bootstrap']['level']:g}"
        notes.append(f"In brackets: {level} % intervals, by bootstrap over the queries, an identity's together.")
    if alone := metrics["queries"] - metrics["answered"]:
        notes.append(f"{alone} queries have no right entry in the gallery, or can't be read: they don't count.")
    if lost := metrics["unreadable"]:
        notes.append(f"{len(lost)} images can't be read and are left out, the first: {next(iter(lost))}.")
    return notes


def _rule(config: Mapping[str, Any]) -> str:
    if config["protocol"]["cross"]:
        return "A query's list leaves out everything from its own camera, which no benchmark does."
    if config["cameras"]:
        return "A query's list leaves out entries of its own identity and camera."
    return "The data tells no cameras: a query's list leaves out the query itself alone, and same-camera views count."


def _other_part(config: Mapping[str, Any]) -> bool:
    """Whether it isn't the published test of the set: hand-drawn boxes, one camera, another rule."""
    changed = ("query_camera", "gallery_camera")
    return (
        config["protocol"]["cross"] or config["boxes"] == "labeled" or any(config[name] is not None for name in changed)
    )
