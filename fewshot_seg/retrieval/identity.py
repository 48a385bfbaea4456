"""Whose vectors an index holds: vectors of two embedders must never be compared with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.network.catalogue import CATALOGUE
from fewshot_seg.network.embedding import Embedder, load_embedder
from fewshot_seg.network.weights import digest_of


@dataclass(frozen=True)
class Identity:
    """Everything about an embedder that its vectors depend on.

    Attributes:
        source: what `load_embedder` takes to make it again, a name or a checkpoint's path; None if that isn't known.
        spec: `EmbedderSpec.to_dict()`: backbone, head, preprocessing.
        weights: SHA-256 of the trunk's and the head's weights.
        dim: D.
    """

    source: str | None
    spec: Mapping[str, Any]
    weights: str
    dim: int

    @property
    def name(self) -> str:
        """For messages."""
        if self.source in CATALOGUE:  # which may have meant another network when the index was made
            return f"{self.source} ({self.spec['backbone']})"
        return self.source or f"an embedder over {self.spec['backbone']} ({self.weights[:8]})"


def identity_of(embedder: Embedder) -> Identity:
    """The embedder's identity; its weights are read, which takes milliseconds."""
    parts = (("trunk", embedder.trunk), ("head", embedder.head))
    tensors = {f"{part}.{name}": value for part, module in parts for name, value in module.state_dict().items()}
    return Identity(embedder.source, embedder.spec.to_dict(), digest_of(tensors), embedder.dim)


def check_same(index: Identity, other: Identity, where: str) -> None:
    """Check that another embedder's vectors may be compared with an index's.

    `where` is the index, for the message.

    Raises:
        ConfigError: they may not; the message says what differs.
    """
    differing = _differing(index, other)
    if differing:
        raise ConfigError(
            f"{where}: was made with {index.name}, and {other.name} has {differing}: "
            "search with the index's own weights, or build another index"
        )


def load_for(identity: Identity, where: str, device: str | torch.device = "auto") -> Embedder:
    """The embedder that an index was made with, from its source, at the embedder's own size (see `sized`).

    Raises:
        CheckpointError: its source isn't known or not there. ConfigError: what is there now is another embedder.
    """
    if identity.source is None:
        raise CheckpointError(
            f"{where}: was made with {identity.name}, which was never saved: give the embedder, or its checkpoint"
        )
    named = identity.source in CATALOGUE
    try:
        embedder = load_embedder(str(identity.spec["backbone"]) if named else identity.source, device=device)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: the weights that it was made with cannot be loaded: {error}") from error
    embedder.source = identity.source
    check_same(identity, identity_of(sized(embedder, identity)), where)
    return embedder


def sized(embedder: Embedder, identity: Identity) -> Embedder:
    """The embedder at the size that an index's vectors were made at."""
    preprocessing = identity.spec["preprocessing"]
    return embedder.at_size(preprocessing["size"], preprocessing.get("width"))


def _differing(index: Identity, other: Identity) -> str:
    """What differs, in words; empty if nothing does."""
    for key in ("backbone", "pooling", "neck", "dim", "stripes"):
        ours, theirs = index.spec.get(key), other.spec.get(key)
        if ours != theirs:
            return f"another {key} ({theirs}, not {ours})"
    if index.spec["preprocessing"] != other.spec["preprocessing"]:
        ours, theirs = (spec["preprocessing"] for spec in (index.spec, other.spec))
        keys = [key for key in ours if ours[key] != theirs.get(key)]
        return "another preprocessing (" + ", ".join(f"{key} {theirs.get(key)}, not {ours[key]}" for key in keys) + ")"
    return "" if (index.weights, index.dim) == (other.weights, other.dim) else "other weights"
