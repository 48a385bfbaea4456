"""Turns: every client gets on, who leaves frees its place, and there is an end to what is taken on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from threading import Event

import pytest

from fewshot_seg.errors import DataError
from fewshot_seg.web.jobs import MOST_JOBS, Job, Jobs
from fewshot_seg.web.refusals import RefusalError


def test_jobs_take_turns_step_by_step() -> None:
    order: list[str] = []
    begin = Event()

    def work(name: str) -> Iterator[int]:
        begin.wait(10)
        for step in range(3):
            order.append(name)
            yield step

    async def main() -> list[list[int]]:
        jobs = Jobs()
        several = [jobs.submit(work(name)) for name in "abc"]
        begin.set()
        return list(await asyncio.gather(*(read(job) for job in several)))

    assert asyncio.run(main()) == [[0, 1, 2]] * 3
    first = [order.index(name) for name in "abc"]
    assert max(first) < 5, "each began before any had ended"


def test_an_error_reaches_the_client_whose_work_it_was_alone() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError("no good")

    async def main() -> list[int]:
        jobs = Jobs()
        fine = jobs.submit(iter([7, 8]))
        with pytest.raises(DataError, match="no good"):
            await read(jobs.submit(broken()))
        return await read(fine)

    assert asyncio.run(main()) == [7, 8]


def test_who_leaves_ends_the_work_and_it_is_cleaned_up() -> None:
    closed = Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    async def main() -> None:
        jobs = Jobs()
        async with aclosing(jobs.submit(endless()).steps()) as steps:
            assert await anext(steps) == 0
        assert await asyncio.to_thread(closed.wait, 10)
        assert await read(jobs.submit(iter([1]))) == [1]

    asyncio.run(main())


def test_work_waits_for_a_client_that_does_not_read() -> None:
    made = 0

    def endless() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    async def main() -> int:
        jobs = Jobs()
        slow = jobs.submit(endless())
        assert await read(jobs.submit(iter(range(50)))) == list(range(50))
        await asyncio.sleep(0.2)
        jobs.cancel(slow)
        return made

    assert asyncio.run(main()) <= 40


def test_too_much_is_refused_and_a_stopping_server_takes_nothing() -> None:
    hold = Event()

    def waiting() -> Iterator[int]:
        hold.wait(10)
        yield 0

    async def main() -> None:
        jobs = Jobs()
        several = [jobs.submit(waiting()) for _ in range(MOST_JOBS)]
        with pytest.raises(RefusalError) as busy:
            jobs.submit(waiting())
        assert busy.value.status == 429
        hold.set()
        assert await asyncio.gather(*(read(job) for job in several)) == [[0]] * MOST_JOBS
        jobs.refuse_new()
        with pytest.raises(RefusalError) as stopping:
            jobs.submit(waiting())
        assert stopping.value.status == 503

    asyncio.run(main())


async def read(job: Job[int]) -> list[int]:
    return [step async for step in job.steps()]
