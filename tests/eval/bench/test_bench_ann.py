"""The comparison of approximate with exact search, on few vectors."""

from __future__ import annotations

from pathlib import Path

import torch

from eval.bench.ann import bench_ann
from eval.bench.crowd import Crowd
from eval.bench.timing import How
from tests.eval.bench.command import bench


def test_a_crowd_is_the_same_for_the_same_seed_and_of_unit_norm() -> None:
    crowd = Crowd(gallery=50, queries=4, dim=8, centres=5)
    queries, gallery = crowd.vectors()
    assert (queries.shape, gallery.shape) == ((4, 8), (50, 8))
    torch.testing.assert_close(gallery.norm(dim=1), torch.ones(50))
    assert torch.equal(crowd.vectors()[1], gallery)


def test_flat_finds_everything_and_a_graph_nearly_all() -> None:
    crowd = Crowd(gallery=600, queries=20, dim=16, centres=20)
    result = bench_ann(crowd, ["faiss-flat", "faiss-hnsw"], k=5, how=How(rounds=2, threads=1))
    assert result.facts["recall"][0] == 1
    assert result.facts["recall"][1] > 0.9
    assert [one.variant for one in result.timings] == ["exact", "faiss-flat", "faiss-hnsw"]


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    options = "--images 400 --queries 5 --dim 8 --centres 10 --rounds 1 --with faiss-flat --threads 1"
    said, found = bench(tmp_path, "ann", options)
    assert "faiss-flat" in said
    assert found["recall"] == [1.0]
