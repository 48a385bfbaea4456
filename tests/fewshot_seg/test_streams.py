"""Bounded, ordered streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fewshot_seg.streams import in_batches, ordered_map, read_then, worker_pool


def counted(n: int, drawn: list[int]) -> Iterator[int]:
    for i in range(n):
        drawn.append(i)
        yield i


def test_results_keep_their_order_and_items_are_drawn_as_needed() -> None:
    drawn: list[int] = []

    def slow_first(i: int) -> int:
        time.sleep(0.02 if i % 3 == 0 else 0)
        return i * i

    with ThreadPoolExecutor(3) as pool:
        results = ordered_map(pool, slow_first, counted(30, drawn), ahead=4)
        assert next(results) == 0
        assert len(drawn) == 4
        assert list(results) == [i * i for i in range(1, 30)]


def test_an_error_comes_in_its_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = ordered_map(pool, lambda i: 1 // (2 - i), range(5), ahead=3)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_closing_cancels_what_has_not_started() -> None:
    started: list[int] = []
    gate = threading.Event()

    def wait(i: int) -> int:
        started.append(i)
        if i:
            gate.wait(5)
        return i

    with ThreadPoolExecutor(1) as pool:
        results = ordered_map(pool, wait, range(100), ahead=10)
        next(results)
        results.close()  # type: ignore[attr-defined]
        gate.set()
    assert len(started) <= 3


def test_batches() -> None:
    assert list(in_batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_batches([], 3)) == []


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_read_is_worked_on_alone_or_by_batches(alone: bool) -> None:
    drawn: list[int] = []
    batches: list[list[int]] = []
    threads: set[str] = set()

    def work(batch: list[int]) -> list[int]:
        batches.append(batch)
        threads.add(threading.current_thread().name)
        return [-one for one in batch]

    with worker_pool(2) as pool:
        found = read_then(pool, lambda one: 2 * one, work, counted(23, drawn), batch_size=5, workers=2, alone=alone)
        assert next(found) == 0
        assert len(drawn) <= 10
        assert list(found) == [-2 * one for one in range(1, 23)]
    assert {len(one) for one in batches} == ({1} if alone else {5, 3})
    assert (threading.current_thread().name in threads) == (not alone)


def test_workers_use_one_torch_thread_each_and_nobody_else_notices() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        both = threading.Barrier(2)  # each worker has begun, and so has set its number
        with worker_pool(2) as pool:
            assert set(pool.map(lambda _: both.wait(timeout=60), range(2))) == {0, 1}
            assert list(pool.map(lambda _: torch.ones(2**17).sum() and torch.get_num_threads(), range(8))) == [1] * 8
            others: list[int] = []
            other = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
            other.start()
            other.join()
            assert others == [3]
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
