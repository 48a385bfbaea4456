"""Published PASCAL-5i figures to stand beside a run's, each with what it was given: they are not one setting.

In per cent. The first block is Table 3 of the paper (arXiv 2008.06035) whole, the second what came after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Given = Literal["mask", "nothing", "class name"]
Training = Literal["trained", "training-free", "not stated"]
Metric = Literal["miou", "binary_iou"]


@dataclass(frozen=True)
class Published:
    """One figure of one method.

    Attributes:
        method: as its authors call it.
        mean: of the four folds, per cent.
        shot, way: K supports of each of N classes.
        support: what comes with a support image: its "mask"; "nothing"; or the "class name" (an image label says
            the same).
        training: on episodes or base classes with masks ("trained"), or none beyond the backbone's own.
        backbone: the network; "not stated" where neither the table nor its source here says.
        protocol: how episodes are drawn; likewise.
        metric: "binary_iou" where the authors score foreground against background in 2-way episodes.
        folds: per cent of folds 0 to 3, or None where only the mean is known.
        source: where the figure stands.
        note: what keeps it from being compared as it is.
    """

    method: str
    mean: float
    shot: int = 1
    way: int = 1
    support: Given = "mask"
    training: Training = "trained"
    backbone: str = "not stated"
    protocol: str = "not stated"
    metric: Metric = "miou"
    folds: tuple[float, float, float, float] | None = None
    source: str = "2008.06035, Table 3"
    note: str = ""


THE_PAPER: Final = "Zheng et al. (the paper)"
_OSLSM: Final = "oslsm"  # 1,000 episodes, a query and its supports drawn anew for each (Shaban et al., BMVC 2017)
_BINARY_NOTE: Final = "foreground against background"
_OWN_NOTE: Final = "the table doesn't say which of the two IoUs"

_TABLE_3: Final = (
    Published("OSVOS", 32.6, backbone="VGG-16", protocol=_OSLSM, folds=(24.9, 38.8, 36.5, 30.1)),
    Published("OSLSM", 40.8, backbone="VGG-16", protocol=_OSLSM, folds=(33.6, 55.3, 40.9, 33.5)),
    Published("co-FCN", 41.1, backbone="VGG-16", protocol=_OSLSM, folds=(36.7, 50.6, 44.9, 32.4)),
    Published(
        "PAN-init", 35.3, training="training-free", backbone="VGG-16", protocol="panet", folds=(30.8, 40.7, 38.3, 31.4)
    ),
    Published(THE_PAPER, 41.6, support="nothing", folds=(37.9, 50.3, 44.4, 33.8)),
    Published("PL", 39.7, way=2, metric="binary_iou", note=_BINARY_NOTE),
    Published("PL", 40.3, shot=5, way=2, metric="binary_iou", note=_BINARY_NOTE),
    Published("PL+SEG", 41.9, way=2, metric="binary_iou", note=_BINARY_NOTE),
    Published("PL+SEG", 42.6, shot=5, way=2, metric="binary_iou", note=_BINARY_NOTE),
    Published("PL+SEG+PT", 42.7, way=2, metric="binary_iou", note=_BINARY_NOTE),
    Published("PL+SEG+PT", 43.7, shot=5, way=2, metric="binary_iou", note=_BINARY_NOTE),
    Published(THE_PAPER, 56.9, way=2, support="nothing", metric="binary_iou", note=_OWN_NOTE),
    Published(THE_PAPER, 60.1, shot=5, way=2, support="nothing", metric="binary_iou", note=_OWN_NOTE),
)

_R50: Final = "ResNet-50"
_SEGGPT_NOTE: Final = "trained on data that holds these classes"

# method, 1-shot, 5-shot, support, training, backbone, protocol, note
_LATER: Final[tuple[tuple[str, float, float, Given, Training, str, str, str], ...]] = (
    ("PANet", 49.1, 59.3, "mask", "trained", _R50, "panet", ""),
    ("PFENet", 60.8, 61.9, "mask", "trained", _R50, "pfenet", ""),
    ("HSNet", 64.0, 69.5, "mask", "trained", _R50, "hsnet", ""),
    ("BAM", 67.8, 70.9, "mask", "trained", _R50, "not stated", ""),
    ("HDMNet", 69.4, 71.8, "mask", "trained", _R50, "not stated", ""),
    ("Matcher", 68.1, 74.0, "mask", "training-free", "DINOv2 and SAM", "not stated", ""),
    ("GF-SAM", 72.1, 82.6, "mask", "training-free", "DINOv2 and SAM", "not stated", ""),
    ("SegGPT", 83.2, 89.8, "mask", "trained", "ViT-L", "not stated", _SEGGPT_NOTE),
    ("IMR-HSNet", 61.0, 61.8, "class name", "trained", _R50, "not stated", ""),
    ("AFANet", 64.0, 66.2, "class name", "trained", _R50, "not stated", ""),
    ("TLG", 77.2, 77.9, "class name", "not stated", "not stated", "not stated", ""),
)


def _later() -> tuple[Published, ...]:
    rows = []
    for method, one, five, support, training, backbone, protocol, note in _LATER:
        for shot, mean in ((1, one), (5, five)):
            rows.append(
                Published(
                    method,
                    mean,
                    shot,
                    support=support,
                    training=training,
                    backbone=backbone,
                    protocol=protocol,
                    source="its authors' paper",
                    note=note,
                )
            )
    return tuple(rows)


PUBLISHED: Final = _TABLE_3 + _later()


def published(way: int, shot: int) -> tuple[Published, ...]:
    """The figures for N ways and K shots, in the order of `PUBLISHED`."""
    return tuple(row for row in PUBLISHED if (row.way, row.shot) == (way, shot))
