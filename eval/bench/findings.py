"""What a comparison found: two things timed side by side, their ratio, and the target it is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from eval.bench.timing import Spread, Timing, spread
from eval.tables.table import Table

Measure = Literal["times the time", "times as fast", "s more"]

SLOWER: Final[Measure] = "times the time"
FASTER: Final[Measure] = "times as fast"
LATER: Final[Measure] = "s more"


@dataclass(frozen=True)
class Target:
    """What a comparison is held against.

    Attributes:
        measure: `SLOWER`, `LATER`: at most `limit`; `FASTER`: at least.
        limit: the number.
    """

    measure: Measure
    limit: float

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.limit if self.measure == FASTER else value <= self.limit

    def __str__(self) -> str:
        return f"{'at least' if self.measure == FASTER else 'at most'} {self.limit:g} {self.measure}"


@dataclass(frozen=True)
class Finding:
    """A path beside another one.

    Attributes:
        path: what is timed.
        against: what it is compared with.
        items: how many things a round does of either, and what they are.
        timings: of `against`, then of `path`.
        target: it also says in which measure `value` is.
        value: median, lowest and highest over the rounds.
        facts: what else was seen, JSON values; "note" is shown under the table.
    """

    path: str
    against: str
    items: str
    timings: tuple[Timing, Timing]
    target: Target
    value: Spread
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the median reaches the target."""
        return self.target.met(self.value.median)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the timings, which stand in bench.json once."""
        target = {"measure": self.target.measure, "limit": self.target.limit, "met": self.met}
        names = {"path": self.path, "against": self.against, "items": self.items}
        return names | {"value": asdict(self.value), "target": target, **self.facts}


def find(path: str, against: str, items: str, timings: tuple[Timing, Timing], target: Target, **facts: Any) -> Finding:
    """What two timings of the same rounds say; for the arguments see `Finding`."""
    pairs = list(zip(timings[1].seconds, timings[0].seconds, strict=True))
    values = {
        SLOWER: [own / other for own, other in pairs],
        FASTER: [other / own for own, other in pairs],
        LATER: [own - other for own, other in pairs],
    }[target.measure]
    return Finding(path, against, items, timings, target, spread(values), facts)


def findings_table(findings: Sequence[Finding]) -> Table:
    """One row each, with the target and whether it is met; notes under it."""
    rows = tuple(
        (
            one.path,
            one.against,
            one.items,
            _seconds(one.timings[1]),
            _seconds(one.timings[0]),
            f"{one.value.median:.3g} ({one.value.low:.3g} to {one.value.high:.3g})",
            str(one.target),
            "yes" if one.met else "NO",
        )
        for one in findings
    )
    columns = ("path", "against", "a round", "s a round", "the other", "ratio (lowest to highest)", "target", "met")
    notes = tuple(f"{one.path}: {one.facts['note']}" for one in findings if "note" in one.facts)
    return Table("Speeds side by side", columns, rows, notes, names=3)


def timings_of(findings: Sequence[Finding]) -> list[Timing]:
    """All that was timed, each once."""
    return list({id(timing): timing for one in findings for timing in one.timings}.values())


def _seconds(timing: Timing) -> str:
    return f"{spread(timing.seconds).median:.3g}"
