"""A run's numbers: `metrics.jsonl`, one JSON object a line, as a table (CSV), curves (PNG) and for TensorBoard.

A record has "epoch", the epochs done so far (0 is before the training, 1.25 a quarter into the second), and any other
numbers by name. Those of a validation have "recall@1" and so on and "survival", the share of similarity that survives
erasing. What a resumed run logs again replaces what stood there for the same epoch.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.files import parse_json, regular

RECALL = "recall@{}"
SURVIVAL = "survival"
MAP = "map"
METRICS = "metrics.jsonl"
GROUPS = (("losses", "loss"), ("recall", "recall@"), ("mAP", "map"), ("survival", "survival"), ("rates", "lr"))
"""The panels of the picture: title, and how its keys begin. Other numbers are in the CSV alone."""

Record = dict[str, float]


def read_metrics(run: Path) -> list[Record]:
    """The records of `run`, by epoch; what isn't a number is left out, and so is a last line cut short.

    Raises:
        DataError: no metrics there, or lines that are no JSON objects.
    """
    path = run / METRICS
    try:
        lines = regular(path).read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; is {run} a run's folder?") from error
    records: dict[float, Record] = {}
    for number, line in enumerate(lines, start=1):
        try:
            values = parse_json(line)
            record = {key: float(value) for key, value in values.items() if isinstance(value, (int, float))}
        except (ValueError, AttributeError) as error:
            if number == len(lines):  # the run was killed while it wrote
                break
            raise DataError(f"{path}, line {number}: no JSON object") from error
        epoch = record.get("epoch", math.nan)
        records[epoch] = records.get(epoch, {}) | record
    return [records[epoch] for epoch in sorted(records) if not math.isnan(epoch)]


def validations(records: Sequence[Record]) -> list[Record]:
    """The records that have an R@1."""
    return [record for record in records if RECALL.format(1) in record]


def best_record(records: Sequence[Record]) -> Record:
    """The validation, after some training, with the highest R@1, of equals the earliest. DataError: there is none."""
    found = [record for record in validations(records) if record["epoch"] > 0]
    if not found:
        raise DataError("no epoch was validated: let the run go on with --resume")
    return max(found, key=lambda record: record[RECALL.format(1)])


def kept_record(records: Sequence[Record], keep: str) -> Record:
    """The validation whose weights the run keeps, as `run.keep` says: the last, or `best_record`; errors as there."""
    best = best_record(records)
    return validations(records)[-1] if keep == "last" else best


def score_text(record: Record) -> str:
    """The scores of a validation in a few words."""
    text = f"R@1 {100 * record[RECALL.format(1)]:.1f}"
    return f"{text}, mAP {100 * record[MAP]:.1f}" if MAP in record else text


def summary(run: Path, keep: str) -> str:
    """What a run came to, in a line; errors as `read_metrics` and `kept_record`."""
    records = read_metrics(run)
    kept = kept_record(records, keep)
    start = next((f" ({score_text(r)} before training)" for r in validations(records) if r["epoch"] == 0), "")
    return f"{run}: {score_text(kept)} after epoch {kept['epoch']:g}{start}"


def write_curves(run: Path) -> tuple[Path, Path]:
    """`run`/metrics.csv and `run`/curves.png from its metrics; DataError: no metrics, OutputError: no space."""
    from fewshot_seg.imaging.export import atomic_file

    records = read_metrics(run)
    table, picture = run / "metrics.csv", run / "curves.png"
    with atomic_file(table) as stream:
        stream.write(_csv(records).encode())
    with atomic_file(picture) as stream:
        stream.write(_png(records))
    return table, picture


def _csv(records: Sequence[Record]) -> str:
    """One row a record, one column a number; what a record lacks stays empty."""
    columns = list(dict.fromkeys(["epoch", *(key for record in records for key in record)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" for key, value in record.items()} for record in records)
    return text.getvalue()


def _png(records: Sequence[Record]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    keys = list(dict.fromkeys(key for record in records for key in record))
    panels = [(title, [key for key in keys if key.startswith(start)]) for title, start in GROUPS]
    panels = [(title, chosen) for title, chosen in panels if chosen] or [("nothing logged", [])]
    figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, chosen) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key in chosen:
            points = [(record["epoch"], record[key]) for record in records if key in record]
            marker = "o" if len(points) <= 50 else ""
            axes.plot(*zip(*points, strict=True), label=key, marker=marker, markersize=3)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if chosen:
            axes.legend(fontsize="small")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


class Board:
    """Writes a run's scalars to RUN/tensorboard if enabled; ConfigError where tensorboard isn't installed."""

    def __init__(self, run: Path, enabled: bool) -> None:
        self._writer: Any = None
        if enabled:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ConfigError("run.tensorboard needs tensorboard: pip install tensorboard") from error
            self._writer = SummaryWriter(str(run / "tensorboard"))

    def log(self, record: Mapping[str, float], step: int) -> None:
        """The record's numbers, at this step."""
        if self._writer is None:
            return
        for name, value in record.items():
            if name not in ("epoch", "step"):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()
