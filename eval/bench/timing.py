"""Times side by side in one process: a warm-up, then rounds in which every variant has its turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.bench.machine import describe_machine
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.export import write_json

Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]


@dataclass(frozen=True)
class Spread:
    """The median of several values, and the lowest and highest of them."""

    median: float
    low: float
    high: float


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


def side_by_side(
    variants: Mapping[str, Callable[[], object]], items: int, rounds: int = 5, progress: Progress | None = None
) -> list[Timing]:
    """Times every variant once a round. The order turns round with each, so that a drift favours nobody.

    Args:
        variants: name -> what to time; the first is what the others are compared with. Each is run once
            before, untimed. One that computes on a GPU waits for its results itself.
        items: how many things each does.
        rounds: how often, >= 1.
        progress: shows it: (items, total, what they are).

    Raises:
        ConfigError: nothing to time.
    """
    if rounds < 1 or items < 1 or not variants:
        raise ConfigError(f"{rounds} rounds of {items} items, {len(variants)} variants: give at least one of each")
    names = list(variants)
    turns = [name for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    steps = [*((name, True) for name in names), *((name, False) for name in turns)]
    for name, warm_up in progress(steps, len(steps), "timing") if progress else steps:
        start = time.perf_counter()
        variants[name]()
        if not warm_up:
            seconds[name].append(time.perf_counter() - start)
    first = seconds[names[0]]
    return [_timing(name, items, seconds[name], first) for name in names]


def spread(values: Sequence[float]) -> Spread:
    """The median and the ends of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def write_bench(
    path: Path, name: str, settings: Mapping[str, Any], results: Mapping[str, Any], timings: Sequence[Timing]
) -> None:
    """Write bench.json: what was compared, on which machine, and the figures.

    Args:
        path: the file.
        name: of the comparison.
        settings: what it was told, JSON values.
        results: what it found besides times, JSON values.
        timings: the times.

    Raises:
        OutputError: it can't be written.
    """
    rows = [asdict(one) for one in timings]
    write_json(
        path, {"bench": name, "machine": describe_machine(), "settings": {**settings}, **results, "timings": rows}
    )


def _timing(name: str, items: int, seconds: Sequence[float], first: Sequence[float]) -> Timing:
    rates = spread([items / one for one in seconds])
    ratios = spread([other / one for one, other in zip(seconds, first, strict=True)])
    return Timing(name, items, tuple(seconds), rates, ratios)
