"""Work for several clients at once: one thread takes a step of each job in turn, so that none starves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from threading import Condition, Thread
from typing import Any, Final, Generic, TypeVar

from fewshot_seg.web.refusals import BUSY, STOPPING, RefusalError

T = TypeVar("T")

MOST_JOBS: Final = 16
"""Jobs under way or waiting; one more is refused, and may come again later."""
_AT_ONCE: Final = 4  # jobs that take turns; each holds a few images
_UNREAD: Final = 32  # steps that a client may be behind before its job waits for it


def progress(done: int, total: int, start: float) -> dict[str, Any]:
    """What clients are told of work that began at `start` (time.monotonic): {"done", "total", "seconds_left"}."""
    left = (time.monotonic() - start) / done * (total - done)
    return {"done": done, "total": total, "seconds_left": round(left, 1)}


class Job(Generic[T]):
    """Steps of one client's work, made one at a time by the thread of `Jobs`."""

    def __init__(self, work: Iterator[T], owner: Jobs) -> None:
        self._work = work
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._steps: asyncio.Queue[tuple[T | None, BaseException | None]] = asyncio.Queue()
        self.unread = 0
        self.cancelled = False

    async def steps(self) -> AsyncGenerator[T]:
        """What the work yields, as it comes; what it raises. Leaving early, or being cancelled, ends the work."""
        try:
            while True:
                step, error = await self._steps.get()
                self._owner.read(self)
                if isinstance(error, StopIteration):
                    return
                if error is not None:
                    raise error
                yield step  # type: ignore[misc]
        finally:
            self._owner.cancel(self)

    def advance(self) -> bool:
        """One step, in the thread of `Jobs`; whether there are more."""
        step, error = None, None
        try:
            step = next(self._work)
        except BaseException as raised:  # noqa: BLE001 - the client's coroutine raises it
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody is there to read it
            self._loop.call_soon_threadsafe(self._steps.put_nowait, (step, error))
        return error is None

    def close(self) -> None:
        """End the work; in the thread of `Jobs`."""
        if (close := getattr(self._work, "close", None)) is not None:
            close()


class Jobs:
    """All jobs of a server, in the order in which they came."""

    def __init__(self) -> None:
        self._jobs: list[Job[object]] = []
        self._change = Condition()
        self._stopping = False
        self._thread = Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def submit(self, work: Iterator[T]) -> Job[T]:
        """Take on work; called in the event loop.

        Raises:
            RefusalError: 429, there is too much already; 503, the server is stopping.
        """
        with self._change:
            if self._stopping:
                raise RefusalError(STOPPING, "the server is stopping; try again when it runs again")
            if len(self._jobs) >= MOST_JOBS:
                raise RefusalError(BUSY, f"{MOST_JOBS} requests are at work or waiting; try again later")
            job = Job(work, self)
            self._jobs.append(job)  # type: ignore[arg-type]
            self._change.notify()
        return job

    def read(self, job: Job[T]) -> None:
        """A client has read a step."""
        with self._change:
            job.unread -= 1
            self._change.notify()

    def cancel(self, job: Job[T]) -> None:
        """A client has left."""
        with self._change:
            job.cancelled = True
            self._change.notify()

    def refuse_new(self) -> None:
        """Take on nothing more; what is under way goes on."""
        with self._change:
            self._stopping = True

    def _run(self) -> None:
        turn = 0
        while True:
            with self._change:
                while (job := self._next(turn)) is None:
                    self._change.wait()
                turn += 1
            if job.cancelled:
                job.close()
            elif job.advance():
                with self._change:
                    job.unread += 1
                continue
            with self._change:
                self._jobs.remove(job)

    def _next(self, turn: int) -> Job[object] | None:
        """Whose turn it is: of those that may work at once one whose client keeps up, or one that was cancelled."""
        ended = next((job for job in self._jobs if job.cancelled), None)
        ready = [job for job in self._jobs[:_AT_ONCE] if job.unread < _UNREAD]
        return ended or (ready[turn % len(ready)] if ready else None)
