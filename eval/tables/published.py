"""Published figures to stand beside a run's: tables beside this file, in per cent, each row with where it stands.

Networks, sizes and training data differ, so read them as marks, not as equals.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import Final, Literal

Name = Literal["segmentation", "retrieval", "reid"]

THE_PAPER: Final = "Zheng et al. (the paper)"
"""Its method's name in all of them: arXiv 2008.06035, Tables 1 to 3."""


@cache
def read_published(name: Name) -> tuple[dict[str, str], ...]:
    """The rows of a table, column -> text, in its order; an empty text is a figure that nobody gave.

    "segmentation" is of PASCAL-5i: "support" is what comes with a support image, its "mask", the "class name" (an
    image label says the same) or "nothing"; "training" is on base classes with masks ("trained") or none; "folds" are
    the figures of folds 0 to 3; "note" says what keeps a figure from being compared as it is. "retrieval" has R@K by K,
    on the published test classes. "reid" has R1 and mAP without re-ranking, of CUHK03 by detected boxes and its new
    protocol.
    """
    text = resources.files(__package__).joinpath(f"{name}.csv").read_text("utf-8")
    return tuple(csv.DictReader(text.splitlines()))
