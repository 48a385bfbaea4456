"""Published re-identification figures to stand beside a run's: Table 2 of arXiv 2008.06035, and later marks.

In per cent, R1 and mAP, without re-ranking, on the published test sets. Networks and sizes differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Published:
    """One method's figures on one data set.

    Attributes:
        method: as its authors call it.
        dataset: a name of `data.KINDS`; of "cuhk03" the detected boxes under the new protocol.
        r1, map: in per cent.
        source: where they stand.
    """

    method: str
    dataset: str
    r1: float
    map: float
    source: str = "2008.06035, Table 2"


THE_PAPER: Final = "Zheng et al. (the paper)"

_Pair = tuple[float, float]

_TABLE_2: Final[dict[str, tuple[_Pair | None, _Pair]]] = {
    "SVD": ((41.5, 37.3), (76.7, 56.8)),
    "HA": ((41.7, 38.6), (80.5, 63.8)),
    "DA": (None, (81.8, 64.6)),
    "PCB": ((63.7, 57.5), (83.3, 69.2)),
    "MGN": ((66.8, 66.0), (88.7, 78.4)),
    "CASN": ((71.5, 64.4), (87.7, 73.7)),
    THE_PAPER: ((74.5, 67.5), (88.5, 75.8)),
}
"""CUHK03-NP detected, and DukeMTMC-reID."""

_LATER: Final = (
    Published("fast-reid SBS (ResNet-50)", "market", 95.4, 88.2, "its authors' model zoo"),
    Published("fast-reid SBS (ResNet-50)", "duke", 90.3, 80.3, "its authors' model zoo"),
    Published("LightMBN (OSNet)", "cuhk03", 87.2, 85.1, "its authors' paper"),
)

PUBLISHED: Final = (
    *(
        Published(method, dataset, *pair)
        for method, pairs in _TABLE_2.items()
        for dataset, pair in zip(("cuhk03", "duke"), pairs, strict=True)
        if pair is not None
    ),
    *_LATER,
)


def published() -> tuple[Published, ...]:
    """All of them, a data set's together, in the order of `PUBLISHED`."""
    order = list(dict.fromkeys(row.dataset for row in PUBLISHED))
    return tuple(sorted(PUBLISHED, key=lambda row: order.index(row.dataset)))
