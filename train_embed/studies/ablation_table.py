"""The ablation's figures as a table; those of the paper's losses beside its Table 1."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fewshot_seg.imaging.export import atomic_file, write_json


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
    """What one run came to, at the epoch whose weights it keeps.

    Attributes:
        loss: a key of `LOSSES`, or the name of the configuration whose own loss it is.
        mining: with or without.
        seed: its seed.
        recall: K -> R@K in [0, 1].
        survival: the share of similarity that survives erasing; None where it wasn't measured.
        epoch: that epoch.
        untrained: R@1 before the training, if it was measured.
        map: mAP in [0, 1], where cameras were known.
        untrained_map: the same before the training.
        keep: `run.keep`, which says what epoch that is.
    """

    loss: str
    mining: bool
    seed: int
    recall: dict[int, float]
    survival: float | None
    epoch: float
    untrained: float | None = None
    map: float | None = None
    untrained_map: float | None = None
    keep: str = "best"


def summary(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for each loss and variant, and one for what mining changes, compared seed by seed.

    Shares are in percent. A figure is {"mean", "spread", "runs"}: spread is the sample's standard deviation, None
    for a single run.
    """
    rows: list[dict[str, Any]] = []
    columns = _columns(results)
    for loss in _losses(results):
        plain = {r.seed: r for r in results if r.loss == loss and not r.mining}
        mined = {r.seed: r for r in results if r.loss == loss and r.mining}
        both = sorted(plain.keys() & mined.keys())
        pairs_of: dict[str, list[tuple[Result | None, Result]]] = {
            "baseline": [(None, r) for r in plain.values()],
            "mining": [(None, r) for r in mined.values()],
            "change": [(plain[seed], mined[seed]) for seed in both],
        }
        for variant, pairs in pairs_of.items():
            figures = {name: _figure([_minus(value, *pair) for pair in pairs]) for name, value in columns.items()}
            rows.append({"loss": loss, "variant": variant, **figures, "paper": _published(loss, variant)})
    return rows


def _published(loss: str, variant: str) -> dict[str, float]:
    """The row of the paper's Table 1; none for other losses than its own."""
    if loss not in LOSSES:
        return {}
    paper = LOSSES[loss]
    changed = tuple(round(b - a, 1) for a, b in zip(paper.baseline, paper.mining, strict=True))
    known = {"baseline": paper.baseline, "mining": paper.mining, "change": changed}[variant]
    return dict(zip(RECALLS, known, strict=True))


def markdown(results: Sequence[Result], failed: Sequence[str] = ()) -> str:
    """The table, with what has to be known to read it."""
    columns = _columns(results)
    papers = any(loss in LOSSES for loss in _losses(results))
    heads = ["", *(TITLES.get(key, f"R@{key[1:]}") for key in columns)]
    heads += ["R@1/2/4 in the paper (CUB)", "runs"] if papers else ["runs"]
    lines = [f"| {' | '.join(heads)} |".replace("|  |", "| |"), "|---" * len(heads) + "|"]
    for row in summary(results):
        change = row["variant"] == "change"
        title = LOSSES[row["loss"]].title if row["loss"] in LOSSES else row["loss"]
        name = {"baseline": title, "mining": f"{title} + mining", "change": "change"}[row["variant"]]
        cells = [_cell(row[key], change) for key in columns]
        if papers:
            cells.append("/".join(f"{value:+.1f}" if change else f"{value:.1f}" for value in row["paper"].values()))
        lines.append("| " + " | ".join([name, *cells, str(row["r1"]["runs"])]) + " |")
    lines += ["", NOTE.format(epoch=EPOCHS[results[0].keep])]
    lines += [PAPER_NOTE] if papers else []
    for title, values in (("R@1", [r.untrained for r in results]), ("mAP", [r.untrained_map for r in results])):
        untrained = _figure([None if value is None else 100 * value for value in values])
        if untrained["runs"]:
            lines.append(f"{title} before training: {_cell(untrained, False)}.")
    lines += [f"Failed: {line}." for line in failed]
    return "\n".join(lines) + "\n"


NOTE = (
    "Percent; mean ± standard deviation over seeds, each run at {epoch}. A change is mining minus baseline of the same "
    "seed."
)
EPOCHS = {"best": "the epoch with its best validation R@1", "last": "its last epoch"}
PAPER_NOTE = (
    "The paper's rows are Table 1, left: CUB-200-2011 and ResNet-50, so compare its changes with these, not its levels."
)


def write_tables(out: Path, results: Sequence[Result], failed: Sequence[str] = ()) -> None:
    """`out`/table.md and `out`/table.json; OutputError where one cannot be written."""
    runs = [asdict(result) for result in results]
    write_json(out / "table.json", {"rows": summary(results), "runs": runs, "failed": list(failed)})
    with atomic_file(out / "table.md") as stream:
        stream.write(markdown(results, failed).encode())


Figure = Callable[[Result], float | None]


def _recall(k: int) -> Figure:
    return lambda result: 100 * result.recall[k] if k in result.recall else None


def _share(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _losses(results: Sequence[Result]) -> list[str]:
    """The paper's three, whichever of them there are results of, or the configuration's own."""
    found = list(dict.fromkeys(result.loss for result in results))
    return list(LOSSES) if not found or found[0] in LOSSES else found


def _columns(results: Sequence[Result]) -> dict[str, Figure]:
    """What the table shows: mAP where it was measured, the paper's recalls or the run's own, survival."""
    ks = PAPER_KS if _losses(results)[0] in LOSSES else tuple(sorted({k for r in results for k in r.recall}))
    recalls = {f"r{k}": _recall(k) for k in ks}
    by_camera: dict[str, Figure] = {}
    if any(result.map is not None for result in results):
        by_camera["map"] = lambda result: _share(result.map)
    return {**by_camera, **recalls, "survival": lambda result: _share(result.survival)}


TITLES = {"map": "mAP", "survival": "similarity that survives erasing"}
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
