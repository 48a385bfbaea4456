"""Answers that go out in parts, and work that ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from fewshot_seg.errors import FewShotError
from fewshot_seg.files import json_line
from fewshot_seg.web.jobs import Jobs
from fewshot_seg.web.refusals import BAD, RefusalError

T = TypeVar("T")

NDJSON: Final = "application/x-ndjson"
_LOOK: Final = 0.25  # seconds between looks at whether a client is still there


async def streamed(jobs: Jobs, work: Iterator[dict[str, Any]], ended: Any = None) -> StreamingResponse:
    """Each step as a line, as it is made; an error ahead of the first step is an answer of its own.

    Args:
        jobs: that do the work.
        work: its steps.
        ended: awaited at the very end: it gives back what the work needs.
    """
    steps = jobs.submit(work).steps()
    try:
        first = await anext(steps, None)
    except BaseException:
        if ended is not None:
            await ended()
        raise

    async def lines() -> AsyncIterator[bytes]:
        try:
            async with aclosing(steps):
                if first is not None:
                    yield json_line(first)
                async for step in steps:
                    yield json_line(step)
        except FewShotError as error:
            yield json_line({"error": str(error)})
        finally:
            if ended is not None:
                await ended()

    return StreamingResponse(lines(), media_type=NDJSON)


async def all_steps(request: Request, jobs: Jobs, work: Iterator[T]) -> list[T]:
    """Every step of work; it ends early where the client has left."""
    task = asyncio.ensure_future(_gathered(jobs, work))
    try:
        while not (await asyncio.wait([task], timeout=_LOOK))[0]:
            if await request.is_disconnected():
                break
        else:
            return task.result()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    raise RefusalError(BAD, "the client has left")


async def _gathered(jobs: Jobs, work: Iterator[T]) -> list[T]:
    async with aclosing(jobs.submit(work).steps()) as steps:
        return [step async for step in steps]
