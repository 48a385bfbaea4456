"""Exact search against a sort of all products, and what neither chunks nor doubles may change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewshot_seg.errors import ConfigError, DataError, ShapeError
from fewshot_seg.retrieval.exact import top_k


def by_sorting(queries: Tensor, gallery: Tensor, k: int) -> tuple[list[list[float]], list[list[int]]]:
    """Every product of every pair, one by one; the order is by falling score, then by rising row."""
    scores, rows = [], []
    for query in queries:
        products = [float((query.double() * row.double()).sum().float()) for row in gallery]
        order = sorted(range(len(gallery)), key=lambda row: (-products[row], row))[:k]
        rows.append(order)
        scores.append([products[row] for row in order])
    return scores, rows


def vectors(count: int, dimensions: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 60),
    distinct=st.integers(1, 60),
    queries=st.integers(1, 6),
    k=st.integers(1, 70),
    chunk=st.integers(1, 70),
    at_once=st.integers(1, 7),
    seed=st.integers(0, 10**6),
)
def test_the_best_are_those_of_a_full_sort_with_any_number_of_doubles(
    count: int, distinct: int, queries: int, k: int, chunk: int, at_once: int, seed: int
) -> None:
    different = vectors(distinct, 17, seed)
    gallery = different[torch.randint(distinct, (count,), generator=torch.Generator().manual_seed(seed))]
    found = top_k(vectors(queries, 17, seed + 1), gallery, k, chunk=chunk, queries_at_once=at_once)
    scores, rows = by_sorting(vectors(queries, 17, seed + 1), gallery, k)
    assert found.rows.tolist() == rows
    assert found.scores.tolist() == scores


@pytest.mark.parametrize("chunk", [96, 500])
@pytest.mark.parametrize("scale", [1e-6, 300.0])
def test_the_size_of_chunks_changes_no_bit(chunk: int, scale: float) -> None:
    queries, gallery = vectors(9, 130), vectors(2000, 130, seed=1) * scale
    gallery[1000:] = gallery[:1000] + vectors(1000, 130, seed=2) * scale * 1e-7  # nearly doubles
    whole = top_k(queries, gallery, 40, chunk=2000)
    parts = top_k(queries, gallery, 40, chunk=chunk, queries_at_once=4)
    assert torch.equal(whole.rows, parts.rows)
    assert torch.equal(whole.scores, parts.scores)


def test_of_equal_rows_the_lowest_are_found() -> None:
    gallery = vectors(1, 64).expand(3000, 64)
    found = top_k(vectors(2, 64, seed=1), gallery, 5, chunk=256)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert (found.scores == found.scores[:, :1]).all()


def test_the_order_of_the_gallery_changes_no_score() -> None:
    queries, gallery = vectors(5, 48), vectors(700, 48, seed=1)
    rising = (gallery @ queries[0]).argsort()  # the worst case: every chunk is better than those before
    found = top_k(queries, gallery[rising], 20, chunk=64)
    assert torch.equal(found.scores, top_k(queries, gallery, 20).scores)
    assert torch.equal(rising[found.rows], top_k(queries, gallery, 20).rows)


def test_more_than_there_are_gives_what_there_is() -> None:
    found = top_k(vectors(3, 8), vectors(4, 8, seed=1), 10)
    assert found.rows.shape == found.scores.shape == (3, 4)
    assert found.rows.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize(("queries", "gallery"), [(0, 5), (3, 0), (0, 0)])
def test_nothing_is_found_for_nobody_and_in_nothing(queries: int, gallery: int) -> None:
    found = top_k(torch.zeros(queries, 8), torch.zeros(gallery, 8), 2)
    assert found.rows.shape == found.scores.shape == (queries, min(2, gallery))
    assert found.rows.dtype == torch.int64


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_mapped_file_is_searched_without_being_changed(tmp_path: Path, dtype: type) -> None:
    array = vectors(300, 16, seed=1).numpy().astype(dtype)
    np.save(tmp_path / "vectors.npy", array)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    found = top_k(vectors(4, 16), mapped, 7, chunk=50)
    expected = top_k(vectors(4, 16), torch.from_numpy(array.astype(np.float32)), 7)
    assert torch.equal(found.rows, expected.rows)
    assert torch.equal(found.scores, expected.scores)


def test_half_precision_and_gradients_are_taken_as_they_are() -> None:
    queries = vectors(2, 16).requires_grad_()
    found = top_k(queries, vectors(30, 16, seed=1).bfloat16(), 3)
    assert found.scores.dtype == torch.float32
    assert not found.scores.requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_by_row(bad: float) -> None:
    broken = vectors(100, 8)
    broken[63, 2] = bad
    with pytest.raises(DataError, match="gallery row 63 has a number that is not finite"):
        top_k(vectors(2, 8), broken, 3, chunk=10)
    with pytest.raises(DataError, match="query 63 "):
        top_k(broken, vectors(2, 8), 3)


def test_shapes_and_options_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"got \(3, 8\) and \(4, 9\)"):
        top_k(vectors(3, 8), vectors(4, 9), 2)
    with pytest.raises(ShapeError, match=r"got \(8,\)"):
        top_k(torch.zeros(8), vectors(4, 8), 2)
    with pytest.raises(ConfigError, match="at least 1, got k 0"):
        top_k(vectors(3, 8), vectors(4, 8), 0)
    with pytest.raises(ConfigError, match="unknown device 'abacus'"):
        top_k(vectors(3, 8), vectors(4, 8), 2, device="abacus")


def test_torchs_rougher_products_change_nothing() -> None:
    queries, gallery = vectors(6, 96), vectors(900, 96, seed=1)
    exact = top_k(queries, gallery, 12)
    torch.set_float32_matmul_precision("medium")
    try:
        rough = top_k(queries, gallery, 12)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(exact.rows, rough.rows)
    assert torch.equal(exact.scores, rough.scores)
