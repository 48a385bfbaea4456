"""A retrieval run's figures as a table for people, beside what was published on the same data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from eval.tables.published import read_published
from eval.tables.table import Table, percent, span

_NAMED: Final = ("cub", "cars", "sop", "inshop")  # sets that are one and the same everywhere


def figures_table(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> Table:
    """One row for each of the run's weights, then the published ones."""
    ks = [str(k) for k in config["ks"]]
    own = [_own(name, figures, ks) for name, figures in metrics["methods"].items()]
    others = [
        (row["method"], *(row.get(k) or "-" for k in ks), "-", "-", "-", row["source"])
        for row in _published(config["dataset"])
    ]
    columns = ("weights", *(f"R@{k}" for k in ks), "MAP@R", "R-precision", "NMI", "source")
    counts = f"{config['queries']:,} queries, {metrics['classes']:,} classes"
    title = f"Retrieval in per cent, {dataset_title(config)}: {counts}"
    return Table(title, columns, (*own, *others), tuple(notes_of(config, metrics))).without_empty_columns()


def dataset_title(config: Mapping[str, Any]) -> str:
    """What a run was made on: "cub, test", "folder cub200, classes 101-150"."""
    named = config["dataset"] if config["dataset"] in _NAMED else f"{config['dataset']} {Path(config['root']).name}"
    return f"{named}, {'classes ' + config['classes'] if config['classes'] else config['split']}"


def notes_of(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What has to be known of the figures, in sentences."""
    itself = "The query itself is left out by its id" if metrics["left_out_by_id"] else "No query is in the gallery"
    notes = [f"{itself}; of equal similarities the image that is listed first comes first."]
    if metrics["bootstrap"]["samples"]:
        level = f"{100 * metrics['bootstrap']['level']:g}"
        notes.append(f"In brackets: {level} % intervals, by bootstrap over the queries.")
    for name, figures in metrics["methods"].items():
        if lost := figures["unreadable"]:
            notes.append(f"{name}: {len(lost)} images can't be read and are left out, the first: {next(iter(lost))}.")
    if alone := max(figures["queries_alone"] for figures in metrics["methods"].values()):
        notes.append(f"{alone} queries have no other image of their class: misses of R@K, left out of MAP@R.")
    if config["allow_missing"]:
        notes.append("Images of the published set may be missing: these may not be the whole set's figures.")
    if _published(config["dataset"]):
        notes.append("Published figures come from networks, sizes and training data of their own.")
    return notes


def _own(name: str, figures: Mapping[str, Any], ks: list[str]) -> tuple[str, ...]:
    spans = figures.get("intervals") or {"recall": {}}
    recall = [span(percent(figures["recall"][k]), spans["recall"].get(k)) for k in ks]
    others = [span(percent(figures[key]), spans.get(key)) for key in ("map_at_r", "r_precision")]
    return name, *recall, *others, percent(figures["nmi"]), "-"


def _published(dataset: str) -> list[dict[str, str]]:
    return [row for row in read_published("retrieval") if row["dataset"] == dataset]
