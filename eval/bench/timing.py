"""Times side by side in one process: a warm-up, then rounds in which every variant has its turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from eval.bench.machine import describe_machine
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.export import write_json
from fewshot_seg.streams import Track, untracked

R = TypeVar("R")


@dataclass(frozen=True)
class Spread:
    """The median of several values, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """For tables."""
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Timing:
    """What was measured of a variant.

    Attributes:
        variant: its name.
        items: how many things one round does.
        seconds: of each round.
        rate: items a second.
        ratio: of rates, to the first variant's in the same round; above 1 is faster.
    """

    variant: str
    items: int
    seconds: tuple[float, ...]
    rate: Spread
    ratio: Spread


@dataclass(frozen=True)
class How:
    """How a comparison is made.

    Attributes:
        rounds: how often each variant is timed.
        threads: of torch and FAISS; None leaves their own numbers.
        track: shows progress.
    """

    rounds: int = 5
    threads: int | None = None
    track: Track = untracked


@dataclass(frozen=True)
class Measured:
    """What a comparison found: times, and JSON values besides, as bench.json has them."""

    timings: list[Timing]
    facts: dict[str, Any]


def side_by_side(
    variants: Mapping[str, Callable[[], object]], items: int, rounds: int = 5, track: Track = untracked
) -> list[Timing]:
    """Times every variant once a round. The order turns round with each, so that a drift favours nobody.

    Args:
        variants: name -> what to time; the first is what the others are compared with. Each is run once
            before, untimed. One that computes on a GPU waits for its results itself.
        items: how many things each does.
        rounds: how often, >= 1.
        track: shows progress.

    Raises:
        ConfigError: nothing to time.
    """
    if rounds < 1 or items < 1 or not variants:
        raise ConfigError(f"{rounds} rounds of {items} items, {len(variants)} variants: give at least one of each")
    names = list(variants)
    turns = [name for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    steps = [*((name, True) for name in names), *((name, False) for name in turns)]
    for name, warm_up in track(steps, len(steps), "timing"):
        start = time.perf_counter()
        variants[name]()
        if not warm_up:
            seconds[name].append(time.perf_counter() - start)
    first = seconds[names[0]]
    return [_timing(name, items, seconds[name], first) for name in names]


def keeping(variants: Mapping[str, Callable[[], R]]) -> tuple[dict[str, Callable[[], None]], dict[str, R]]:
    """The variants, and a place for what each gives: the last result by name, once they have run."""
    found: dict[str, R] = {}
    return {name: partial(_keep, found, name, run) for name, run in variants.items()}, found


def spread(values: Sequence[float]) -> Spread:
    """The median and the ends of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def write_bench(
    path: Path, name: str, settings: Mapping[str, Any], results: Mapping[str, Any], timings: Sequence[Timing]
) -> None:
    """Write bench.json: what was compared, on which machine, what it was told, what was found, and the times.

    Settings and results are JSON values.

    Raises:
        OutputError: it can't be written.
    """
    rows = [asdict(one) for one in timings]
    write_json(
        path, {"bench": name, "machine": describe_machine(), "settings": {**settings}, **results, "timings": rows}
    )


def _keep(found: dict[str, R], name: str, run: Callable[[], R]) -> None:
    found[name] = run()


def _timing(name: str, items: int, seconds: Sequence[float], first: Sequence[float]) -> Timing:
    rates = spread([items / one for one in seconds])
    ratios = spread([other / one for one, other in zip(seconds, first, strict=True)])
    return Timing(name, items, tuple(seconds), rates, ratios)
