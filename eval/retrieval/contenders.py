"""The weights that a run compares, under names that its files and rows have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot_seg.errors import ConfigError

if TYPE_CHECKING:
    from fewshot_seg.network.embedding import Embedder


@dataclass(frozen=True)
class Contender:
    """One of the weights that are compared.

    Attributes:
        name: for files and rows.
        embedder: what they are.
        config: all that determines its vectors, JSON values.
    """

    name: str
    embedder: Embedder
    config: Mapping[str, Any] = field(default_factory=dict)


def check_weights(weights: Sequence[str]) -> None:
    """Refuse weights that can't be compared.

    Raises:
        ConfigError: none, or one that is named twice.
    """
    if not weights or len(set(weights)) < len(weights):
        raise ConfigError(f"weights {', '.join(weights)}: name at least one, and each once")


def load_contenders(weights: Sequence[str], device: str, size: int | None = None) -> list[Contender]:
    """Each of the weights, as `load_embedder` takes them, on the device, at a size as `for_retrieval` takes it.

    Raises:
        CheckpointError: bad weights. ConfigError: no such device.
    """
    from dataclasses import asdict

    from fewshot_seg.network.embedding import for_retrieval, load_embedder
    from fewshot_seg.retrieval.identity import identity_of

    contenders = []
    for name, one in zip(_names(weights), weights, strict=True):
        embedder = for_retrieval(load_embedder(one, device=device), size)
        known = {**asdict(identity_of(embedder)), "source": one, "device": embedder.device.type}
        contenders.append(Contender(name, embedder, {"name": name, **known}))
    return contenders


def _names(weights: Sequence[str]) -> list[str]:
    """Short names that are fit for files, each once: a checkpoint's without its folder."""
    names: list[str] = []
    for one in weights:
        stem = Path(one).stem if one.endswith(".safetensors") else one
        plain = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "weights"
        number = 1
        while (name := plain if number == 1 else f"{plain}-{number}") in names:
            number += 1
        names.append(name)
    return names
