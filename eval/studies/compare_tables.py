"""A comparison as tables for people."""

from __future__ import annotations

from typing import Any

from eval.episodes.matchers import KNOWN
from eval.studies.compare import Comparison, Difference, Estimate
from eval.studies.systems import FOLDS, System
from eval.tables.table import Table, percent, span

_FOLD_TITLES = tuple(f"fold {fold}" for fold in FOLDS)


def comparison_tables(found: Comparison) -> list[Table]:
    """Figures; differences, if there are several systems; published figures, if there are any of the kind."""
    tables = [figures_table(found)]
    if found.differences:
        tables.append(_differences(found))
    if found.published:
        tables.append(_published(found))
    return tables


def figures_table(found: Comparison) -> Table:
    """The systems' figures alone."""
    title = f"Mean IoU in per cent{_interval_words(found)}"
    with_matcher = any(system.matcher != "none" for system in found.systems)
    words = ("system", "setting", "support", *["matcher"] * with_matcher, "protocol")
    columns = (*words, "episodes", *_FOLD_TITLES, "mean", "FB-IoU", "binary IoU")
    rows = []
    for system, figures in zip(found.systems, found.estimates, strict=True):
        config, parts = system.config, system.parts
        per_fold = [percent(parts[fold].figures()["miou"]) if fold in parts else "-" for fold in FOLDS]
        means = [estimate_text(figures[name]) for name in ("miou", "fb_iou", "binary_iou")]
        setting = f"{config['way']}-way {config['shot']}-shot"
        matcher = [system.matcher] * with_matcher
        episodes = _episodes([len(part.counts.queries) for part in system.parts.values()])
        rows.append((system.name, setting, system.given, *matcher, config["protocol"], episodes, *per_fold, *means))
    return Table(title, columns, tuple(rows), _figure_notes(found), names=len(words)).without_empty_columns()


def _figure_notes(found: Comparison) -> tuple[str, ...]:
    notes = []
    if partial := _names(found, [one for one in found.systems if len(one.parts) < len(FOLDS)]):
        notes.append(f"The mean is over the folds shown, not over all four: {partial}.")
    if lacking := [one for one in found.systems if one.missing]:
        counts = ", ".join(f"{one.name} ({one.missing})" for one in lacking)
        notes.append(f"Without images that are listed, but not there (how many): {counts}.")
    if elsewhere := _names(found, [one for one in found.systems if not one.benchmark]):
        notes.append(f"Not on PASCAL-5i's validation lists, so not to be held against published figures: {elsewhere}.")
    if known := _names(found, [one for one in found.systems if KNOWN in one.matcher]):
        notes.append(f"The matcher was trained with masks of the very classes that are looked for: {known}.")
    left_out = dict.fromkeys((one.config["shot"], one.left_out) for one in found.systems if one.left_out)
    for shot, names in left_out:
        notes.append(f"Left out of {shot}-shot runs, for having too few images: {', '.join(names)}.")
    return tuple(notes)


def _differences(found: Comparison) -> Table:
    base = found.systems[0].name
    title = f"Differences from {base} in points{_interval_words(found)}"
    columns = ("system", "folds", "compared on", "mean IoU", "p", "FB-IoU", "p", "binary IoU", "p")
    rows = []
    for one in found.differences:
        cells = []
        for name in ("miou", "fb_iou", "binary_iou"):
            cells += [estimate_text(one.means[name], sign="+"), p_text(one.p_values[name])]
        rows.append((one.system, ", ".join(one.folds), one.pairing, *cells))
    notes = [f"p: two-sided, by {found.samples} bootstrap resamples of the query images; not corrected for many tests."]
    notes += _pairing_notes(found.differences)
    missing = {one.name for one in found.systems[1:]} - {one.system for one in found.differences}
    if missing:
        notes.append(f"No fold in common with {base}: {', '.join(sorted(missing))}.")
    return Table(title, columns, tuple(rows), tuple(notes), names=3)


def _pairing_notes(differences: tuple[Difference, ...]) -> list[str]:
    kinds = {one.pairing for one in differences}
    notes = []
    if "same queries" in kinds:
        notes.append("Same queries: paired by query, the supports are others.")
    if "unpaired" in kinds:
        notes.append("Unpaired: other queries, so the spread between draws counts in full.")
    return notes


def _published(found: Comparison) -> Table:
    words = ("method", "setting", "metric", "support", "training", "backbone", "protocol")
    notes = ["Support: what comes with a support image. Training: on base classes with masks, or none."]
    notes += dict.fromkeys(f"{one['method']}: {one['note']}." for one in found.published if one["note"])
    rows = tuple(map(_published_row, found.published))
    title = "Published on PASCAL-5i, per cent"
    table = Table(title, (*words, *_FOLD_TITLES, "mean"), rows, tuple(notes), names=len(words))
    return table.without_empty_columns()


def _published_row(row: dict[str, Any]) -> tuple[str, ...]:
    folds = [f"{value:.1f}" for value in row["folds"]] if row["folds"] else ["-"] * len(FOLDS)
    metric = "binary IoU" if row["metric"] == "binary_iou" else "mean IoU"
    words = (row[name] for name in ("support", "training", "backbone", "protocol"))
    return (row["method"], f"{row['way']}-way {row['shot']}-shot", metric, *words, *folds, f"{row['mean']:.1f}")


def estimate_text(figure: Estimate, sign: str = "") -> str:
    """A figure in per cent with its interval; `sign` "+" signs them."""
    return span(percent(figure.value, sign), figure.interval, sign)


def p_text(value: float | None) -> str:
    """A p-value; "-" for none."""
    return "-" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def _episodes(counts: list[int]) -> str:
    """Of each fold: "4 x 200"."""
    if len(set(counts)) > 1:
        return " + ".join(map(str, counts))
    return f"{len(counts)} x {counts[0]}" if len(counts) > 1 else str(counts[0])


def _names(found: Comparison, systems: list[System]) -> str:
    """Names, or "all of these" where it is all."""
    several = len(found.systems) > 1 and len(systems) == len(found.systems)
    return "all of these" if several else ", ".join(one.name for one in systems)


def _interval_words(found: Comparison) -> str:
    return ", with 95 % intervals" if found.samples else ""
