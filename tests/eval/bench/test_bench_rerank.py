"""Re-ranking's two forms side by side."""

from __future__ import annotations

import numpy as np
import pytest

from eval.bench.crowd import Crowd
from eval.bench.dense_rerank import dense_rerank
from eval.bench.rerank import DENSE, SPARSE, _alone
from tests.eval.bench.command import bench
from tests.fewshot_seg.reid.dense import dense_rerank as slow_rerank


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (4, 1)])
def test_the_authors_form_is_the_paper_s(k1, k2):
    queries, gallery = (part.double().numpy() for part in Crowd(50, 6, 8, 9).vectors())
    expected = slow_rerank(queries, gallery, k1, k2)
    np.testing.assert_allclose(dense_rerank(queries, gallery, k1, k2), expected, atol=1e-9)


def test_a_crowd_shrinks_in_proportion():
    crowd = Crowd(15913, 3368, 2048, 750)
    small = crowd.shrunk(2000)
    assert (small.queries, small.queries + small.gallery, small.centres) == (349, 2000, 77)
    assert crowd.shrunk(10**6) == crowd


def test_the_command_compares_both_and_writes_it_down(tmp_path):
    size = "--queries 20 --gallery 100 --dim 16 --people 10 --dense-images 60 --rounds 1 --no-memory"
    said, found = bench(tmp_path, "rerank", size)
    assert "times as fast" in said
    assert [one["variant"] for one in found["timings"]] == [DENSE, SPARSE]
    assert found["furthest"] < 1e-5


def test_what_a_process_of_its_own_says():
    crowd = Crowd(20, 5, 8, 4)
    found = _alone(SPARSE, crowd, None)
    assert (found.variant, found.queries, found.gallery) == (SPARSE, 5, 20)
    assert found.peak_mib >= found.before_mib > 0
