"""Systems side by side: figures with intervals, differences with p-values, and published figures beside them.

A difference is judged by a paired bootstrap where two systems segmented the same queries: both get the same
resamples of the query images. Folds are resampled apart, and their mean is taken of each resample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.measures.bootstrap import SAMPLES, fold_seed, interval, p_value
from eval.measures.metrics import MEANS
from eval.studies.systems import Part, System
from eval.tables.published import read_published
from fewshot_seg.errors import ConfigError

Pairing = Literal["same episodes", "same queries", "unpaired"]
"""Of two systems: what their episodes share. "same queries": other supports (or more of them)."""

_APART = 1000  # added to the seed of draws that must not be those of the other system
_PAIRINGS: tuple[Pairing, ...] = ("same episodes", "same queries", "unpaired")  # the strictest first


@dataclass(frozen=True)
class Estimate:
    """A system's figure and its 95 % interval (None without resamples), as shares."""

    value: float
    interval: list[float] | None


@dataclass(frozen=True)
class Difference:
    """A system's figures minus another's.

    Attributes:
        system, base: their names.
        folds: the folds that both have.
        pairing: see `Pairing`; the loosest of the folds'.
        means: of `metrics.MEANS` -> the difference of the means over `folds`.
        p_values: likewise, two-sided; None without resamples.
    """

    system: str
    base: str
    folds: tuple[str, ...]
    pairing: Pairing
    means: Mapping[str, Estimate]
    p_values: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    Attributes:
        systems: in the order given; the first is the base.
        estimates: for each system, of `metrics.MEANS` -> over its folds, each alike.
        differences: of every other system from the base, if they share a fold.
        published: figures for the ways and shots of the systems that are on PASCAL-5i.
        samples: resamples.
    """

    systems: tuple[System, ...]
    estimates: tuple[Mapping[str, Estimate], ...]
    differences: tuple[Difference, ...]
    published: tuple[dict[str, Any], ...]
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values: shares for what was measured here, per cent for what was published."""
        rows = zip(self.systems, self.estimates, strict=True)
        return {
            "systems": [_system_values(system, figures) for system, figures in rows],
            "differences": [_difference_values(one) for one in self.differences],
            "published": list(self.published),
            "bootstrap": {"samples": self.samples, "over": "query images"},
        }


def compare(systems: Sequence[System], samples: int = SAMPLES) -> Comparison:
    """Compare systems, the first of them with every other.

    `samples` are the resamples for intervals and p-values; 0 gives none.

    Raises:
        ConfigError: no system.
    """
    if not systems:
        raise ConfigError("nothing to compare: name at least one run")
    pascal = [system.config for system in systems if system.config["dataset"] == "pascal5i"]
    settings = dict.fromkeys((config["way"], config["shot"]) for config in pascal)
    rows = tuple(row for way, shot in settings for row in published(way, shot))
    differences = [difference(systems[0], other, samples) for other in systems[1:]]
    return Comparison(
        tuple(systems),
        tuple(estimate(system, samples) for system in systems),
        tuple(one for one in differences if one is not None),
        rows,
        samples,
    )


def published(way: int, shot: int) -> list[dict[str, Any]]:
    """The rows of `read_published` for N ways and K shots, numbers as numbers; "folds" is None where none are known."""
    return [
        {
            **row,
            "mean": float(row["mean"]),
            "shot": shot,
            "way": way,
            "folds": [float(value) for value in row["folds"].split()] or None,
        }
        for row in read_published("segmentation")
        if (row["way"], row["shot"]) == (str(way), str(shot))
    ]


def estimate(system: System, samples: int = SAMPLES) -> dict[str, Estimate]:
    """A system's `metrics.MEANS` over its folds, each alike, with intervals."""
    drawn = [part.drawn(samples, fold_seed(fold)) for fold, part in system.parts.items()]
    values = system.means(list(system.parts))
    return {name: Estimate(values[name], interval(_over_folds(drawn, name))) for name in MEANS}


def difference(base: System, other: System, samples: int) -> Difference | None:
    """`other` minus `base`, on the folds that both have; None where there is none."""
    folds = tuple(fold for fold in base.parts if fold in other.parts)
    if not folds:
        return None
    pairings = [_pairing(base.parts[fold], other.parts[fold]) for fold in folds]
    first = [base.parts[fold].drawn(samples, fold_seed(fold)) for fold in folds]
    second = [
        other.parts[fold].drawn(samples, fold_seed(fold) + _APART * (pairing == "unpaired"))
        for fold, pairing in zip(folds, pairings, strict=True)
    ]
    values, base_values = other.means(folds), base.means(folds)
    drawn = {name: _over_folds(second, name) - _over_folds(first, name) for name in MEANS}
    return Difference(
        other.name,
        base.name,
        folds,
        max(pairings, key=_PAIRINGS.index),
        {name: Estimate(values[name] - base_values[name], interval(drawn[name])) for name in MEANS},
        {name: p_value(drawn[name]) for name in MEANS},
    )


def _pairing(one: Part, other: Part) -> Pairing:
    if one.counts.digest == other.counts.digest:
        return "same episodes"
    same = one.counts.queries == other.counts.queries and np.array_equal(one.counts.labels, other.counts.labels)
    return "same queries" if same else "unpaired"


def _over_folds(drawn: Sequence[Mapping[str, NDArray[np.float64]]], name: str) -> NDArray[np.float64]:
    """(B,): the mean over folds of each resample."""
    return np.asarray(np.mean([one[name] for one in drawn], axis=0))


def _system_values(system: System, figures: Mapping[str, Estimate]) -> dict[str, Any]:
    config = system.config
    return {
        "name": system.name,
        **{name: config[name] for name in ("dataset", "way", "shot", "protocol", "episodes")},
        "support": system.given,
        "matcher": system.matcher,
        "pascal5i_validation_images": system.benchmark,
        "missing_images": system.missing,
        "classes_left_out": list(system.left_out),
        "folds": {fold: _plain(part.figures()) for fold, part in system.parts.items()},
        "runs": {fold: str(part.run) for fold, part in system.parts.items()},
        "mean": {name: _plain(vars(one)) for name, one in figures.items()},
    }


def _difference_values(one: Difference) -> dict[str, Any]:
    means = {name: _plain(vars(value) | {"p": one.p_values[name]}) for name, value in one.means.items()}
    return {"system": one.system, "base": one.base, "folds": one.folds, "pairing": one.pairing, **means}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
