"""The records of a run for TensorBoard, if one asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewshot_seg.errors import ConfigError

__all__ = ["Board"]


class Board:
    """Writes scalars to RUN/tensorboard, or nothing.

    Args:
        run: the run's folder.
        enabled: whether to write.

    Raises:
        ConfigError: tensorboard isn't installed.
    """

    def __init__(self, run: Path, enabled: bool) -> None:
        self._writer: Any = None
        if enabled:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ConfigError("run.tensorboard needs tensorboard: pip install tensorboard") from error
            self._writer = SummaryWriter(str(run / "tensorboard"))

    def log(self, record: Mapping[str, float], step: int) -> None:
        """The record's numbers, at this step."""
        if self._writer is None:
            return
        for name, value in record.items():
            if name not in ("epoch", "step"):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()
