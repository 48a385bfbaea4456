"""What a report is made of, and what draws in it what a run's folder doesn't keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewshot_seg.errors import ConfigError

__all__ = ["Network", "ReportTask"]


@dataclass(frozen=True)
class Network:
    """What to use in place of a run's weights and device; None means the run's."""

    weights: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class ReportTask:
    """What to report on.

    Attributes:
        out: a finished run's folder.
        root, split_list: where its data is now; None means where it was. Only segmentation runs have a split list.
        examples: episodes or queries drawn under each heading; 0 draws none.
        network: weights and device for what is worked out again: an episode's steps, a query's attention.
        command: (config, metrics, out) to the command that makes such a run, for the reader.
    """

    out: Path
    root: Path | None = None
    split_list: Path | None = None
    examples: int = 8
    network: Network = field(default_factory=Network)
    command: Callable[[Mapping[str, Any], Mapping[str, Any], Path], str] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.examples <= 100:
            raise ConfigError(f"examples {self.examples}: must be from 0 to 100")
