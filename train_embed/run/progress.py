"""What a person sees of a running training: steps, losses, time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fewshot_seg.commands.console import Meter

_PLAIN_EVERY: Final = 30.0  # seconds between lines where stderr is no terminal


def training_meter(total: int, done: int = 0, quiet: bool = False) -> Meter:
    """Of a training of `total` steps, so many of which were done before; `quiet` for ranks other than the first."""
    return Meter(total, "training", done=done, command="train-embed", every=_PLAIN_EVERY, quiet=quiet)


def losses_text(parts: Mapping[str, float]) -> str:
    """A step's losses in a few words."""
    return " ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in parts.items())
