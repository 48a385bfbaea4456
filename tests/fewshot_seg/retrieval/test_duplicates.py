"""Near-duplicates, against the slow way, and through the command."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fewshot_seg as fs
from fewshot_seg.retrieval.duplicates import group_rows


def slow_groups(vectors: np.ndarray, threshold: float) -> list[tuple[int, ...]]:
    """Every pair in turn; a row joins all groups that it is near to."""
    groups = [{row} for row in range(len(vectors))]
    for a in range(len(vectors)):
        for b in range(a + 1, len(vectors)):
            if vectors[a] @ vectors[b] >= threshold - 1e-6:
                one, other = (next(group for group in groups if row in group) for row in (a, b))
                if one is not other:
                    groups.remove(other)
                    one |= other
    return sorted(tuple(sorted(group)) for group in groups if len(group) > 1)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 40), chunk=st.integers(1, 17), seed=st.integers(0, 10**6), threshold=st.floats(0.3, 0.99))
def test_groups_are_those_of_the_slow_way(count: int, chunk: int, seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = group_rows(vectors, threshold, chunk=chunk)
    assert [group.rows for group in found] == slow_groups(vectors, threshold)
    for group in found:
        assert group.score == pytest.approx((vectors[list(group.rows)] @ vectors[group.rows[0]]).min(), abs=1e-5)


def test_equal_vectors_are_duplicates_at_one() -> None:
    vector = np.full((1, 7), 7**-0.5, np.float32)
    assert [group.rows for group in group_rows(np.repeat(vector, 5, axis=0), 1.0, chunk=2)] == [(0, 1, 2, 3, 4)]


@pytest.mark.parametrize("threshold", [-1.0, 1.01, float("nan")])
def test_an_impossible_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(fs.ConfigError, match="threshold"):
        group_rows(np.zeros((2, 3), np.float32), threshold)
