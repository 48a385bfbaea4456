"""The ablation's figures as a table, beside those of the paper's Table 1."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["LOSSES", "PaperLoss", "Result", "markdown", "summary", "write_tables"]


@dataclass(frozen=True)
class PaperLoss:
    """One of the paper's networks.

    Attributes:
        title: its name in Table 1.
        loss: `loss.name` here.
        baseline, mining: Table 1, left (CUB-200-2011, R@1/2/4 in percent), without and with similarity mining.
    """

    title: str
    loss: str
    baseline: tuple[float, float, float]
    mining: tuple[float, float, float]


LOSSES = {
    "siamese": PaperLoss("Siamese", "contrastive", (65.9, 77.5, 85.8), (67.7, 77.8, 85.5)),
    "triplet": PaperLoss("Triplet", "triplet", (66.4, 78.1, 85.6), (68.3, 78.9, 86.5)),
    "quadruplet": PaperLoss("Quadruplet", "quadruplet", (64.7, 75.6, 85.2), (66.4, 77.0, 85.2)),
}
PAPER_KS = (1, 2, 4)


@dataclass(frozen=True)
class Result:
    """What one run came to, at the epoch whose R@1 was best.

    Attributes:
        loss: a key of `LOSSES`.
        mining: with or without.
        seed: its seed.
        recall: K -> R@K in [0, 1].
        survival: the share of similarity that survives erasing; None where it wasn't measured.
        epoch: that epoch.
        untrained: R@1 before the training, if it was measured.
    """

    loss: str
    mining: bool
    seed: int
    recall: dict[int, float]
    survival: float | None
    epoch: float
    untrained: float | None = None


def summary(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for each loss and variant, and one for what mining changes, compared seed by seed.

    Shares are in percent. A figure is {"mean", "spread", "runs"}: spread is the sample's standard deviation, None
    for a single run.
    """
    rows: list[dict[str, Any]] = []
    for loss, paper in LOSSES.items():
        plain = {r.seed: r for r in results if r.loss == loss and not r.mining}
        mined = {r.seed: r for r in results if r.loss == loss and r.mining}
        both = sorted(plain.keys() & mined.keys())
        changed = tuple(round(b - a, 1) for a, b in zip(paper.baseline, paper.mining, strict=True))
        for variant, pairs, published in (
            ("baseline", [(None, r) for r in plain.values()], paper.baseline),
            ("mining", [(None, r) for r in mined.values()], paper.mining),
            ("change", [(plain[seed], mined[seed]) for seed in both], changed),
        ):
            figures = {name: _figure([_minus(value, *pair) for pair in pairs]) for name, value in FIGURES.items()}
            known = dict(zip(RECALLS, published, strict=True))
            rows.append({"loss": loss, "variant": variant, **figures, "paper": known})
    return rows


def markdown(results: Sequence[Result], failed: Sequence[str] = ()) -> str:
    """The table, with what has to be known to read it."""
    lines = [
        "| | R@1 | R@2 | R@4 | similarity that survives erasing | R@1/2/4 in the paper (CUB) | runs |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in summary(results):
        change = row["variant"] == "change"
        title = LOSSES[row["loss"]].title
        name = {"baseline": title, "mining": f"{title} + mining", "change": "change"}[row["variant"]]
        cells = [_cell(row[key], change) for key in FIGURES]
        paper = "/".join(f"{value:+.1f}" if change else f"{value:.1f}" for value in row["paper"].values())
        lines.append("| " + " | ".join([name, *cells, paper, str(row["r1"]["runs"])]) + " |")
    lines += ["", NOTE]
    untrained = _figure([None if r.untrained is None else 100 * r.untrained for r in results])
    if untrained["runs"]:
        lines.append(f"R@1 before training: {_cell(untrained, False)}.")
    lines += [f"Failed: {line}." for line in failed]
    return "\n".join(lines) + "\n"


NOTE = (
    "Percent; mean ± standard deviation over seeds, each run at the epoch with its best validation R@1. A change is "
    "mining minus baseline of the same seed. The paper's rows are Table 1, left: CUB-200-2011 and ResNet-50, so "
    "compare its changes with these, not its levels."
)


def write_tables(out: Path, results: Sequence[Result], failed: Sequence[str] = ()) -> None:
    """`out`/table.md and `out`/table.json.

    Raises:
        OutputError: one cannot be written.
    """
    from fewshot_seg.export import atomic_file, write_json

    runs = [asdict(result) for result in results]
    write_json(out / "table.json", {"rows": summary(results), "runs": runs, "failed": list(failed)})
    with atomic_file(out / "table.md") as stream:
        stream.write(markdown(results, failed).encode())


Figure = Callable[[Result], float | None]


def _recall(k: int) -> Figure:
    return lambda result: 100 * result.recall[k] if k in result.recall else None


FIGURES: dict[str, Figure] = {
    **{f"r{k}": _recall(k) for k in PAPER_KS},
    "survival": lambda result: None if result.survival is None else 100 * result.survival,
}
RECALLS = tuple(f"r{k}" for k in PAPER_KS)


def _minus(value: Figure, before: Result | None, after: Result) -> float | None:
    """The value, or its change from `before` where there is such."""
    b, a = value(after), None if before is None else value(before)
    if before is None:
        return b
    return None if a is None or b is None else b - a


def _figure(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "spread": statistics.stdev(known) if len(known) > 1 else None,
        "runs": len(known),
    }


def _cell(figure: dict[str, Any], signed: bool) -> str:
    if figure["mean"] is None:
        return "–"
    mean = f"{figure['mean']:+.1f}" if signed else f"{figure['mean']:.1f}"
    return mean if figure["spread"] is None else f"{mean} ± {figure['spread']:.1f}"
