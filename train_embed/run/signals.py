"""SIGINT and SIGTERM as a wish that the trainer fulfils at the end of its step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fewshot_seg.errors import FewShotError


class Interrupted(FewShotError):  # noqa: N818 - as KeyboardInterrupt is none
    """A run that was stopped by a signal, its state saved."""


class StopSignal:
    """The name of the signal that came, or None so far."""

    name: str | None = None

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: now
        self.name = signal.Signals(number).name


@contextmanager
def stop_on_signals() -> Iterator[StopSignal]:
    """Takes SIGINT and SIGTERM while the block runs; a second SIGINT interrupts at once.

    In a thread other than the main one Python lets nobody take signals: nothing is taken then.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {number: signal.signal(number, stop._take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
