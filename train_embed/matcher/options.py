"""The settings of a matcher's training; each option of the command stands here once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from fewshot_seg.errors import ConfigError

FOLDS = 4
"""Of PASCAL-5i's 20 classes, five to each."""

_SHORT = {"voc": "pascal5i"}
_SHARES = ("absent", "masked", "several", "unfamiliar")
_PRESENCE = "Then: whether the object is there at all, learnt over the fixed matcher."
_UNFAMILIAR = "Share of episodes whose class counts as none of the kinds that are told apart."


@dataclass(frozen=True)
class Source:
    """A data set: its kind, as `fewshot_seg.datasets.open_dataset` takes it, and its folder."""

    kind: str
    root: Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a matcher is trained, apart from the data. ConfigError: a value out of its range."""

    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser.")] = 600
    presence_steps: Annotated[int, typer.Option(min=1, help=_PRESENCE)] = 1500
    batch: Annotated[int, typer.Option(min=2, help="Episodes in a step.")] = 16
    rate: Annotated[float, typer.Option(help="The learning rate's peak.")] = 3e-3
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of everything that is drawn.")] = 0
    views: Annotated[int, typer.Option(min=1, help="Of each image: whole, mirrored, then random parts.")] = 8
    absent: Annotated[float, typer.Option(help="Share of episodes whose query shows nothing of the class.")] = 0.0
    masked: Annotated[float, typer.Option(help="Share of steps in which the supports' masks are given.")] = 0.25
    several: Annotated[float, typer.Option(help="Share of steps with three supports an episode.")] = 0.25
    unfamiliar: Annotated[float, typer.Option(help=_UNFAMILIAR)] = 0.3
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Of torch. A result's last bits depend on it.")] = (
        1  # on busy processors two are far slower than one
    )
    weights: Annotated[str, typer.Option(help="The backbone: default, lite0, dinov2-small or a checkpoint.")] = (
        "default"
    )
    device: Annotated[str, typer.Option(help="cpu, cuda, ...: the same seed, the same bits on cpu alone.")] = "cpu"

    def __post_init__(self) -> None:
        hints = get_type_hints(Settings, include_extras=True)
        for field in fields(Settings):
            (option,), value = hints[field.name].__metadata__, getattr(self, field.name)
            flag = f"--{field.name.replace('_', '-')}"
            if option.min is not None and value < option.min:
                raise ConfigError(f"{flag} must be at least {option.min}, got {value}")
            if option.max is not None and value > option.max:
                raise ConfigError(f"{flag} must be at most {option.max}, got {value}")
            if field.name in _SHARES and not 0 <= value <= 1:
                raise ConfigError(f"{flag} is a share, 0 to 1, got {value}")
        if not 0 < self.rate < 1:
            raise ConfigError(f"--rate must be between 0 and 1, got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class MatcherTraining(Settings):
    """One training.

    Attributes:
        sources: where the images and masks are from.
        hold_out: the fold of PASCAL-5i whose classes, in all sources, are never learnt; None: all are.

    Raises:
        ConfigError: a value out of its range.
    """

    sources: tuple[Source, ...]
    hold_out: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise ConfigError("nothing to learn from: give --data KIND=DIR at least once")
        if self.hold_out is not None and self.hold_out not in range(FOLDS):
            raise ConfigError(f"--hold-out {self.hold_out}: PASCAL-5i has folds 0 to {FOLDS - 1}, or none")

    def to_dict(self) -> dict[str, Any]:
        """Everything that determines the result, as JSON values; not where the data was."""
        names = ("hold_out", "steps", "presence_steps", "batch", "seed", "views", *_SHARES, "rate", "threads")
        return {name: getattr(self, name) for name in names}


def parse_sources(texts: Sequence[str]) -> tuple[Source, ...]:
    """Sources from "KIND=DIR"; "voc" is short for "pascal5i". ConfigError: another form, or no such kind."""
    from fewshot_seg.datasets import dataset_names

    sources = []
    for text in texts:
        kind, equals, root = text.partition("=")
        kind = _SHORT.get(kind, kind)
        if not equals or not root or kind not in dataset_names():
            choices = ", ".join((*_SHORT, *dataset_names()))
            raise ConfigError(f"--data takes KIND=DIR with KIND one of {choices}; got {text!r}")
        sources.append(Source(kind, Path(root)))
    return tuple(sources)
