"""How the segmenter works: every choice that a user has, checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from fewshot_seg.attention.maps import Variant
from fewshot_seg.cutting.refine import GrabCutOptions
from fewshot_seg.cutting.refiners import DEFAULT_REFINER, check_refiner
from fewshot_seg.cutting.seeds import SeedOptions
from fewshot_seg.errors import ConfigError

Meaning = Literal["auto", "kind", "thing"]
LocateBy = Literal["auto", "matching", "correspondence", "attention"]
Quality = Literal["fast", "default", "best"]

_QUALITIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "fast": {"refine": "none", "rounds": 1},
    "default": {},
    "best": {"look_twice": True},
}


@dataclass(frozen=True)
class SegmenterOptions:
    """How supports and a query become a mask. The defaults are the measured best (see ARCHITECTURE.md).

    Attributes:
        locate_by: "matching" by a trained matcher, "correspondence" without training, or "attention" alone;
            "auto" takes the matcher where there is one for the embedder's weights, else correspondence.
        meaning: "thing": this very thing is looked for, by appearance; "kind": this kind of thing; "auto": the
            thing where the supports' scene comes again in the query, else the kind.
            Attention, and correspondence with "auto", know kinds alone.
        matcher: "auto", the name of one that the package holds, a file, or "none" (see `matcher_files`).
        rounds: of matching and correspondence, from 1 up.
        look_twice: the part of a query where something was found is seen a second time, from close by.
        weighting: for attention: its variant (see `attention.similarity_maps`).
        through_norm: whether attention's gradient passes through the L2 norm (see `attention.attention_maps`).
        rejection: how much the other classes' supports take away, >= 0 and finite (see `attention.shot_weights`).
        seeds: a map to a trimap; None means what was measured to be best for `locate_by`.
        refine: "guided" (see `guided`), "grabcut", "random-walk" (see `refine`), or another of
            `refiners.refiner_names`; or "none": the trimap's foreground is the mask.
        refine_weights: a file or folder for a refiner that loads one.
        grabcut: how GrabCut runs.
        presence: below this confidence, within [0, 1], an object counts as absent and its mask is empty. Only a
            matcher's confidence is calibrated, so only that is compared with it.
        always: every object counts as there.
        keep: a refined mask is kept where what it should share with the truth, going by the map, is at least
            this part of what the mask without refinement should; from 0 up. 0 keeps every refined mask.
        seed: of everything random; the same seed gives the same masks.
        threads: cv2's threads, set for the whole process when the segmenter starts on queries; None leaves
            cv2's own number.

    Raises:
        ConfigError: an unknown choice, or a number out of its range.
    """

    locate_by: LocateBy = "auto"
    meaning: Meaning = "auto"
    matcher: str = "auto"
    rounds: int = 2
    look_twice: bool = False
    weighting: Variant = "overlap"
    through_norm: bool = False
    rejection: float = 0.5
    seeds: SeedOptions | None = None
    refine: str = DEFAULT_REFINER
    refine_weights: str | None = None
    grabcut: GrabCutOptions = field(default_factory=GrabCutOptions)
    presence: float = 0.4
    always: bool = False
    keep: float = 0.8
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        choices_of = {"locate_by": LocateBy, "meaning": Meaning, "weighting": Variant}
        for name, kind in choices_of.items():
            if getattr(self, name) not in (choices := get_args(kind)):
                raise ConfigError(f"unknown {name} {getattr(self, name)!r}: choose {' or '.join(choices)}")
        check_refiner(self.refine)
        for name in ("through_norm", "look_twice", "always"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"{name} {getattr(self, name)!r}: must be true or false")
        for name, most in (("presence", 1), ("keep", math.inf), ("rejection", math.inf)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value <= most or value == math.inf:
                wanted = "number from 0 to 1" if most == 1 else "finite number from 0 up"
                raise ConfigError(f"{name} {value!r}: must be a {wanted}")
        for name, low, high in (("rounds", 1, 10), ("seed", 0, 2**31 - 1), ("threads", 1, 1024)):
            value = getattr(self, name)
            if (type(value) is not int or not low <= value <= high) and (name != "threads" or value is not None):
                or_none = ", or None" if name == "threads" else ""
                raise ConfigError(f"{name} {value!r}: must be a whole number, {low} to {high}{or_none}")

    @classmethod
    def of_quality(cls, quality: str, **changes: Any) -> SegmenterOptions:
        """The options that a quality stands for, and `changes` of them, which come first.

        "fast" leaves GrabCut and the second round out; "best" looks twice.

        Raises:
            ConfigError: no such quality, or as the class itself.
        """
        if quality not in _QUALITIES:
            raise ConfigError(f"unknown quality {quality!r}: choose {' or '.join(_QUALITIES)}")
        return cls(**{**_QUALITIES[quality], **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SegmenterOptions:
        """What `dataclasses.asdict` makes of options, or a part of it; the rest keeps its defaults.

        Raises:
            ConfigError: an option that isn't there, or a value that it can't have.
        """
        try:
            parts = {"seeds": SeedOptions, "grabcut": GrabCutOptions}
            made = {
                name: parts[name](**value) if name in parts and value is not None else value
                for name, value in values.items()
            }
            return cls(**made)
        except TypeError as error:
            raise ConfigError(f"segmenter options {dict(values)}: {error}; give the options of this version") from error
