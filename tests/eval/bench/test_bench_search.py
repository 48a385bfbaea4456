"""Exact search and faiss side by side."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from eval.bench.crowd import Crowd
from eval.bench.machine import in_child
from eval.bench.search import FAISS, OURS, _over_mib, bench_search
from fewshot_seg.errors import ConfigError
from tests.eval.bench.command import bench


def test_the_command_compares_both_and_writes_it_down(tmp_path: Path) -> None:
    size = "--size 3000 --dim 24 --queries 20 --k 7 --rounds 2 --threads 1 --no-memory"
    said, found = bench(tmp_path, "retrieval", size)
    assert "times as fast" in said
    assert [one["variant"] for one in found["timings"]] == [FAISS, OURS]
    assert found["same"] == 1
    assert found["furthest"] < 1e-5
    assert found["settings"]["threads"] == 1
    assert found["machine"]["processors"] >= 1


def test_a_search_takes_little_memory_beside_the_vectors() -> None:
    crowd = Crowd(120_000, 300, 256)
    assert crowd.mib > 115
    assert in_child(_over_mib, OURS, crowd, 100, 1) < 100


def test_the_vectors_are_the_same_for_the_same_seed() -> None:
    (one, _), (other, gallery) = Crowd(70_000, 3, 4).vectors(), Crowd(70_000, 3, 4).vectors()
    assert one.tolist() == other.tolist()
    assert float((gallery.norm(dim=1) - 1).abs().max()) < 1e-6
    assert Crowd(100, 3, 4).mib * 2**20 == 103 * 4 * 4


def test_without_faiss_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match=r"pip install 'fewshot-seg\[faiss\]'"):
        bench_search(Crowd(10, 2, 4), k=1)
