"""What several subcommands share."""

from __future__ import annotations

from typing import Final

__all__ = ["COMMAND", "percent"]

COMMAND: Final = "fewshot-eval"


def percent(share: float | None) -> str:
    """0.123 -> "12.3"; None, for what has no value, is "-"."""
    return "-" if share is None else f"{100 * share:.1f}"
