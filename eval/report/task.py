"""What a report is made of, and what draws in it what a run's folder doesn't keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eval.episodes.scoring import METRICS, read_config
from eval.report.page import render
from fewshot_seg.errors import CheckpointError, ConfigError, DataError, describe
from fewshot_seg.files import read_json
from fewshot_seg.imaging.export import atomic_file
from fewshot_seg.network.embedding import Embedder, load_embedder

REPORT = "report.html"
MOST_ROWS = 20_000  # of the table of all episodes or queries


@dataclass(frozen=True)
class Network:
    """What to use in place of a run's weights and device; None means the run's."""

    weights: str | None = None
    device: str | None = None

    def embedder(self, weights: str, device: str, digest: str, digest_of: Callable[[Embedder], str]) -> Embedder:
        """The embedder that a run was made with, by what its config says of it.

        Raises:
            CheckpointError: no such weights, or others than `digest` tells. ConfigError: no such device.
        """
        made = load_embedder(self.weights or weights, device=self.device or device)
        if digest_of(made) != digest:
            what = "holds other weights than the run's; give them by --weights"
            raise CheckpointError(f"{describe(self.weights or weights)}: {what}")
        return made


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

    def read(self, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The run's config and metrics. DataError: not the folder of a finished run of that kind."""
        config, path = read_config(self.out, kind), self.out / METRICS
        try:
            return config, read_json(path)
        except (OSError, ValueError) as error:
            what = f"cannot be read ({error}); run the evaluation to its end first"
            raise DataError(f"{describe(path)}: {what}") from error

    def write(self, template: str, config: Mapping[str, Any], metrics: Mapping[str, Any], **values: Any) -> Path:
        """Write `out`/report.html. OutputError: it can't be written."""
        command = self.command and self.command(config, metrics, self.out)
        page = render(template, config=config, metrics=metrics, command=command, **values)
        with atomic_file(path := self.out / REPORT) as stream:
            stream.write(page.encode("utf-8"))
        return path


@dataclass(frozen=True)
class Group:
    """Episodes or queries to be drawn under one heading; `places` count within the run."""

    title: str
    note: str
    places: tuple[int, ...]


def groups_of(values: Sequence[float], images: Sequence[str], count: int, rule: str, seed: int = 0) -> list[Group]:
    """Groups of at most `count` places, the same ones for the same values and seed.

    The random ones are drawn from all; the worst and the best have an image at most once. A run of few is one group
    of all of them.

    Args:
        values: a value for each place, larger is better; NaN where there is none.
        images: of each place.
        count: see above; 0 gives no group.
        rule: a sentence on how the worst and the best are chosen.
        seed: decides the draw, and between equals.
    """
    drawn = np.argsort(np.random.Philox(key=seed).random_raw(len(values)), kind="stable").tolist()
    ranked = sorted(drawn, key=lambda place: math.inf if math.isnan(values[place]) else values[place])
    if len(values) <= 2 * count:
        return [Group("All of them", "The worst first.", tuple(ranked))] if count else []
    known = [place for place in ranked if not math.isnan(values[place])]
    return [
        Group("Drawn at random", "What to expect, good and bad.", tuple(sorted(drawn[:count]))),
        Group("The worst", rule, _distinct(images, known, count)),
        Group("The best", rule, _distinct(images, known[::-1], count)),
    ][: 3 if count else 0]


def _distinct(images: Sequence[str], places: Sequence[int], count: int) -> tuple[int, ...]:
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(images[place], place)
    return tuple(first.values())[:count]
