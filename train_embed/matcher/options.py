"""What training a matcher can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_seg.datasets import dataset_names
from fewshot_seg.errors import ConfigError

__all__ = ["FOLDS", "MatcherTraining", "Source", "parse_sources"]

FOLDS = 4
"""Of PASCAL-5i's 20 classes, five to each."""

_SHORT = {"voc": "pascal5i"}

_MOST_THREADS = 1024
_MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Source:
    """A data set: its kind, as `fewshot_seg.datasets.open_dataset` takes it, and its folder."""

    kind: str
    root: Path


@dataclass(frozen=True)
class MatcherTraining:
    """One training.

    Attributes:
        sources: where the images and masks are from.
        hold_out: the fold of PASCAL-5i whose classes, in all sources, are never learnt; None: all are.
        steps: of the optimiser.
        presence_steps: of the second stage, which learns whether the object is there at all.
        batch: episodes in a step with one support each; half as many with three.
        seed: of everything that is drawn but the views.
        views: of each image: whole, mirrored, then random parts.
        absent: share of episodes whose query shows nothing of the class.
        masked: share of steps in which the supports' masks are given.
        several: share of steps whose episodes have three supports.
        unfamiliar: share of episodes whose class counts as none of the kinds that the matcher tells apart.
        rate: the learning rate's peak.
        weights: the backbone, as `load_embedder` takes it.
        device: as `load_embedder` takes it; the same seed gives the same bits on "cpu" alone.
        threads: of torch. A result's last bits depend on it; on busy processors two are far slower than one.

    Raises:
        ConfigError: a value out of its range.
    """

    sources: tuple[Source, ...]
    hold_out: int | None = None
    steps: int = 600
    presence_steps: int = 1500
    batch: int = 16
    seed: int = 0
    views: int = 8
    absent: float = 0.0
    masked: float = 0.25
    several: float = 0.25
    unfamiliar: float = 0.3
    rate: float = 3e-3
    weights: str = "default"
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("nothing to learn from: give --data KIND=DIR at least once")
        if self.hold_out is not None and self.hold_out not in range(FOLDS):
            raise ConfigError(f"--hold-out {self.hold_out}: PASCAL-5i has folds 0 to {FOLDS - 1}, or none")
        for name, least in (
            ("steps", 1),
            ("presence_steps", 1),
            ("batch", 2),
            ("seed", 0),
            ("views", 1),
            ("threads", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(self, name)}")
        if self.seed > _MOST_SEED:
            raise ConfigError(f"--seed must be at most {_MOST_SEED}, got {self.seed}")
        if self.threads > _MOST_THREADS:
            raise ConfigError(f"--threads must be at most {_MOST_THREADS}, got {self.threads}")
        for name in ("absent", "masked", "several", "unfamiliar"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"--{name} is a share, 0 to 1, got {getattr(self, name)}")
        if not 0 < self.rate < 1:
            raise ConfigError(f"--rate must be between 0 and 1, got {self.rate}")

    def to_dict(self) -> dict[str, Any]:
        """Everything that determines the result, as JSON values; not where the data was."""
        shares = ("absent", "masked", "several", "unfamiliar")
        names = ("hold_out", "steps", "presence_steps", "batch", "seed", "views", *shares, "rate", "threads")
        return {name: getattr(self, name) for name in names}


def parse_sources(texts: Sequence[str]) -> tuple[Source, ...]:
    """Sources from "KIND=DIR"; "voc" is short for "pascal5i".

    Raises:
        ConfigError: another form, or no such kind.
    """
    sources = []
    for text in texts:
        kind, equals, root = text.partition("=")
        kind = _SHORT.get(kind, kind)
        if not equals or not root or kind not in dataset_names():
            choices = ", ".join((*_SHORT, *dataset_names()))
            raise ConfigError(f"--data takes KIND=DIR with KIND one of {choices}; got {text!r}")
        sources.append(Source(kind, Path(root)))
    return tuple(sources)
