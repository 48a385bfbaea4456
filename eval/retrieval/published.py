"""Published retrieval figures to stand beside a run's: Table 1 of the paper (arXiv 2008.06035), and later marks.

In per cent, on the data sets' published test classes. The networks differ, so read them as marks, not as equals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Published:
    """One method's figures on one data set.

    Attributes:
        method: as its authors call it.
        dataset: a name of `data.KINDS`.
        recall: K -> R@K in per cent.
        source: where they stand.
    """

    method: str
    dataset: str
    recall: Mapping[int, float]
    source: str = "2008.06035, Table 1"


_LEFT: Final = {
    "Siamese": (65.9, 77.5, 85.8),
    "Siamese, similarity mining": (67.7, 77.8, 85.5),
    "triplet": (66.4, 78.1, 85.6),
    "triplet, similarity mining": (68.3, 78.9, 86.5),
    "quadruplet": (64.7, 75.6, 85.2),
    "quadruplet, similarity mining": (66.4, 77.0, 85.2),
}
"""CUB, R@1, 2 and 4."""

_RIGHT: Final[dict[str, tuple[float | None, float | None, float | None]]] = {
    "Lifted": (47.2, 49.0, 97.4),
    "N-pair": (51.0, 71.1, 97.8),
    "P-NCA": (49.2, 73.2, None),
    "HDC": (53.6, 73.7, 97.7),
    "BIER": (55.3, 78.0, 98.0),
    "ABE": (58.6, 82.7, 98.0),
    "MS": (65.7, 84.1, 98.7),
    "HDML": (53.7, 79.1, None),
    "DeML": (65.4, 86.3, 98.1),
    "Zheng et al. (the paper)": (68.3, 86.3, 98.8),
}
"""R@1 on CUB, R@1 on Cars, R@1000 on SOP."""

_COLUMNS: Final = (("cub", 1), ("cars", 1), ("sop", 1000))

_LATER: Final = (
    Published("AVSL (ResNet-50)", "cub", {1: 71.9}, "its authors' paper"),
    Published("the best known with ResNet-50", "cars", {1: 92.3}, "its authors' paper"),
)

PUBLISHED: Final = (
    *(Published(method, "cub", dict(zip((1, 2, 4), row, strict=True))) for method, row in _LEFT.items()),
    *(
        Published(method, dataset, {k: value})
        for method, row in _RIGHT.items()
        for (dataset, k), value in zip(_COLUMNS, row, strict=True)
        if value is not None
    ),
    *_LATER,
)


def published(dataset: str) -> tuple[Published, ...]:
    """The figures on a data set, in the order of `PUBLISHED`."""
    return tuple(row for row in PUBLISHED if row.dataset == dataset)
