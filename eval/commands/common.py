"""What several subcommands share."""

from __future__ import annotations

from typing import Final

__all__ = ["COMMAND"]

COMMAND: Final = "fewshot-eval"
