"""A run's figures as tables in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from eval.tables.table import percent
from fewshot_seg.commands.console import print_table

_MEANS = {"miou": "mean IoU", "fb_iou": "FB-IoU", "binary_iou": "binary IoU"}


def print_metrics(metrics: dict[str, Any], out: Path) -> None:
    """Print a run's metrics.json: the methods' means in per cent, then their classes."""
    methods: dict[str, dict[str, Any]] = metrics["methods"]
    means = _MEANS | ({"boundary_f": "boundary F"} if "boundary_f" in metrics else {})
    rows = [[name, *(with_interval(scores, key) for key in means)] for name, scores in methods.items()]
    print_table(("method", *means.values()), rows, names=1)
    if (panet := metrics["as_panet"])["runs"] > 1:
        _print_runs(methods, panet["runs"])
    if metrics["presence"].get("auroc") is not None:
        _print_presence(methods)
    names = dict.fromkeys(name for scores in methods.values() for name in scores["per_class"])
    rows = [[name, *(percent(scores["per_class"].get(name)) for scores in methods.values())] for name in names]
    print_table(("class IoU", *methods), rows, names=1, limit=100)
    _print_notes(metrics, out)


def with_interval(scores: dict[str, Any], name: str) -> str:
    """A figure in per cent with its interval: "41.6 (39.0-44.1)"."""
    span = scores.get("intervals", {}).get(name)
    return percent(scores[name]) + (f" ({percent(span[0])}-{percent(span[1])})" if span else "")


def _print_runs(methods: dict[str, dict[str, Any]], runs: int) -> None:
    rows = []
    for name, scores in methods.items():
        counted = scores["as_panet"]
        cells = [f"{percent(counted[key])} ± {percent(counted[f'{key}_std'])}" for key in ("miou", "binary_iou")]
        rows.append([name, *cells])
    print_table((f"mean of {runs} runs, as PANet counts", "mean IoU", "binary IoU"), rows, names=1)


def _print_presence(methods: dict[str, dict[str, Any]]) -> None:
    columns = ("present or absent", "AUROC", "accuracy", "found", "left empty", "IoU if there", "best threshold")
    rows = []
    for name, scores in methods.items():
        presence = scores["presence"]
        if presence.get("auroc") is None:
            continue
        spread = {"auroc": presence["auroc"], "intervals": {"auroc": presence.get("auroc_interval")}}
        shares = [percent(presence[key]) for key in ("accuracy", "present_found", "absent_left_empty")]
        threshold = f"{presence['best_threshold']:.3f} ({percent(presence['best_accuracy'])})"
        rows.append([name, with_interval(spread, "auroc"), *shares, percent(scores["holding_all"]["miou"]), threshold])
    print_table(columns, rows, names=1)


def _print_notes(metrics: dict[str, Any], out: Path) -> None:
    if missing := metrics["missing_images"]:
        typer.echo(f"Without {missing} images that are listed, but not there: other figures than the list's.")
    if left_out := metrics["classes_left_out"]:
        typer.echo(f"Left out, for having too few images: {', '.join(left_out)}")
    if unseen := metrics["classes_without_episodes"]:
        typer.echo(f"No episode had: {', '.join(unseen)}")
    for words, names in _by_matcher(metrics["matcher"]).items():
        typer.echo(f"Matcher: {words} ({', '.join(names)}).")
    if metrics["presence_known"] and _by_matcher(metrics["matcher"]):
        typer.echo("Every query shows what is looked for, and the segmenter is told so.")
    if metrics["intervals"]:
        typer.echo(f"In brackets: {metrics['bootstrap']['level']:.0%} intervals, by bootstrap over query images.")
    held, count = metrics["queries_with_all_classes"], metrics["episodes"]
    typer.echo(f"{count} episodes, in {held} of them the query holds all the classes: {out / 'metrics.json'}")


def _by_matcher(matchers: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, words in matchers.items():
        if words != "none":
            found.setdefault(words, []).append(name)
    return found
