"""How the segmenter works: every choice that a user has, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from fewshot_seg.attention import Weighting
from fewshot_seg.errors import ConfigError
from fewshot_seg.refine import GrabCutOptions
from fewshot_seg.seeds import SeedOptions

Refine = Literal["grabcut", "none"]

_MOST_THREADS = 1024


@dataclass(frozen=True)
class SegmenterOptions:
    """How supports and a query become a mask. The defaults are the measured best (see ARCHITECTURE.md).

    Attributes:
        weighting: which dimensions carry the decision, "overlap" or "paper" (see `attention.shot_weights`).
        through_norm: whether attention's gradient passes through the L2 norm (see `attention.attention_maps`).
        rejection: how much the other classes' supports take away, >= 0 and finite (see `attention.shot_weights`).
        seeds: attention to trimap.
        refine: "grabcut", or "none": attention above its threshold is the mask.
        grabcut: how GrabCut runs.
        seed: of everything random; the same seed gives the same masks.
        threads: cv2's threads, set for the whole process when the segmenter starts on queries; None leaves
            cv2's own number.

    Raises:
        ConfigError: an unknown choice, or a number out of its range.
    """

    weighting: Weighting = "overlap"
    through_norm: bool = False
    rejection: float = 0.5
    seeds: SeedOptions = field(default_factory=SeedOptions)
    refine: Refine = "grabcut"
    grabcut: GrabCutOptions = field(default_factory=GrabCutOptions)
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (("weighting", get_args(Weighting)), ("refine", get_args(Refine))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"unknown {name} {getattr(self, name)!r}: choose {' or '.join(choices)}")
        if not 0 <= self.rejection < math.inf:
            raise ConfigError(f"rejection {self.rejection!r}: must be a finite number from 0 up")
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed {self.seed!r}: must be a whole number, 0 to {2**31 - 1}")
        if self.threads is not None and (type(self.threads) is not int or not 1 <= self.threads <= _MOST_THREADS):
            raise ConfigError(f"threads {self.threads!r}: must be a whole number, 1 to {_MOST_THREADS}, or None")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SegmenterOptions:
        """What `dataclasses.asdict` makes of options, or a part of it; the rest keeps its defaults.

        Raises:
            ConfigError: an option that isn't there, or a value that it can't have.
        """
        try:
            parts = {"seeds": SeedOptions, "grabcut": GrabCutOptions}
            made = {name: parts[name](**value) if name in parts else value for name, value in values.items()}
            return cls(**made)
        except TypeError as error:
            raise ConfigError(f"segmenter options {dict(values)}: {error}; give the options of this version") from error
