"""What it takes to build an embedder again, apart from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing

_MAX_DIM = 65_536


@dataclass(frozen=True)
class EmbedderSpec:
    """All that is needed to build an embedder, apart from its weights.

    Attributes:
        backbone: a name that `fewshot_seg.network.backbones.canonical_name` takes.
        pooling: "avg", "max", "avg+max" or "gem".
        neck: None, "linear", "bn" or "linear+bn".
        dim: length of the vector; None means the backbone's channels.
        preprocessing: how images are brought to the network.
        classes: class scores that the kept classifier gives; 0 where no classifier is kept.
        stripes: of a PCB head (`fewshot_seg.network.pcb`), whose parts share `dim` equally; 0: a plain `PooledHead`.
        refining: of a PCB head, whether it has the layer of refined part pooling.
        last_stride: 1 lets the trunk's last stage keep the map's size (`network.strides`); 2 is the network's own.

    Raises:
        ConfigError: `dim`, `classes`, `stripes` or `last_stride` out of range, refining without stripes.
    """

    backbone: str
    pooling: str = "avg"
    neck: str | None = None
    dim: int | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: int = 0
    stripes: int = 0
    refining: bool = False
    last_stride: int = 2

    def __post_init__(self) -> None:
        if self.dim is not None and not 1 <= self.dim <= _MAX_DIM:
            raise ConfigError(f"embedding dim must be 1 to {_MAX_DIM}, got {self.dim}")
        if not 0 <= self.classes <= _MAX_DIM:
            raise ConfigError(f"number of classes must be 0 to {_MAX_DIM}, got {self.classes}")
        if self.stripes < 0 or (self.stripes and self.dim is not None and self.dim % self.stripes):
            raise ConfigError(f"{self.stripes} stripes cannot share an embedding of {self.dim} dimensions equally")
        if self.refining and not self.stripes:
            raise ConfigError("refined part pooling is of a PCB head: set stripes")
        if self.last_stride not in (1, 2):
            raise ConfigError(f"last_stride must be 1 or 2, got {self.last_stride}")

    def to_dict(self) -> dict[str, Any]:
        """A dict of JSON values; `from_dict` reads it."""
        values = {name: getattr(self, name) for name in ("backbone", "pooling", "neck", "dim", "classes")}
        usual = {"stripes": 0, "refining": False, "last_stride": 2}
        # Left out where they are as usual, so that older versions read what they can build.
        values |= {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}
        return values | {"preprocessing": self.preprocessing.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EmbedderSpec:
        """The spec that `to_dict` wrote. ConfigError: a missing or unknown entry, or a value of the wrong type."""
        known = {
            "backbone": str,
            "pooling": str,
            "neck": (str, type(None)),
            "dim": (int, type(None)),
            "classes": int,
            "stripes": int,
            "refining": bool,
            "last_stride": int,
            "preprocessing": Mapping,
        }
        for name, value in values.items():
            if name not in known:
                raise ConfigError(f"embedder spec has an unknown entry {name!r}")
            wanted: Any = known[name]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                raise ConfigError(f"embedder spec: {name} cannot be {value!r}")
        if missing := {"backbone", "preprocessing"} - set(values):
            raise ConfigError(f"embedder spec lacks {', '.join(sorted(missing))}")
        return cls(**{**values, "preprocessing": Preprocessing.from_dict(values["preprocessing"])})
