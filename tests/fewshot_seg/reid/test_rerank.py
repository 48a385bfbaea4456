"""Sparse, chunked re-ranking gives what the dense textbook form gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.reid import rerank as module
from fewshot_seg.reid.rerank import KReciprocal, RerankOptions, rerank
from tests.fewshot_seg.reid.dense import dense_rerank


def clustered(queries, gallery, dimensions, people, seed, spread=0.6):
    """Unit vectors (Q,D), (G,D) around as many centres as there are people."""
    return labelled(queries, gallery, dimensions, people, seed, spread)[:2]


def labelled(queries, gallery, dimensions, people, seed, spread):
    """The same, and who is who (Q,G): whether query and gallery entry have one centre."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(people, dimensions, generator=generator, dtype=torch.float64)
    number = queries + gallery
    noise = torch.randn(number, dimensions, generator=generator, dtype=torch.float64)
    who = torch.randint(0, people, (number,), generator=generator)
    vectors = torch.nn.functional.normalize(centres[who] + spread * noise, dim=1)
    return vectors[:queries], vectors[queries:], who[:queries, None] == who[None, queries:]


def assert_same(found, expected):
    """To 1e-6, and in the same order wherever the expected distances differ by more than rounding."""
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    order = np.argsort(found, axis=1, kind="stable")
    steps = np.diff(np.take_along_axis(expected, order, axis=1), axis=1)
    assert steps.min(initial=0) > -1e-12


@pytest.mark.parametrize(("k1", "k2", "own"), [(20, 6, 0.3), (20, 1, 0.3), (7, 3, 0.0), (5, 12, 0.5), (3, 2, 1.0)])
@pytest.mark.parametrize("people", [1, 12])
def test_the_textbook_s_distances(people, k1, k2, own):
    queries, gallery = clustered(12, 70, 16, people, seed=k1)
    found = rerank(queries, gallery, RerankOptions(k1, k2, own)).numpy()
    assert_same(found, dense_rerank(queries.numpy(), gallery.numpy(), k1, k2, own))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_textbook_s_distances_with_ties_doubles_and_few_images(data):
    """Vectors of small whole numbers: their distances are exact, so many are equal, and some images are the same."""
    q, g = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 16))
    number = st.integers(-1, 1)
    vectors = data.draw(st.lists(st.lists(number, min_size=3, max_size=3), min_size=q + g, max_size=q + g))
    k1, k2 = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 7))
    own = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    values = np.array(vectors, float)
    found = rerank(torch.tensor(values[:q]), torch.tensor(values[q:]), RerankOptions(k1, k2, own))
    np.testing.assert_allclose(found, dense_rerank(values[:q], values[q:], k1, k2, own), atol=1e-6)


def test_chunks_change_nothing(monkeypatch):
    queries, gallery = clustered(9, 60, 8, 10, seed=5)
    whole = rerank(queries, gallery)
    monkeypatch.setattr(module, "_CELLS", 4)
    small = KReciprocal(torch.cat([queries, gallery]))
    rows = list(small.distance_rows(9))
    assert len(rows) > 3
    torch.testing.assert_close(torch.cat(rows), whole, atol=1e-12, rtol=0)


def test_single_precision_keeps_the_ranks():
    queries, gallery = clustered(20, 200, 32, 30, seed=2)
    found = rerank(queries.float(), gallery.float())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, dense_rerank(queries.numpy(), gallery.numpy()), atol=1e-5)


def test_queries_that_are_in_the_gallery():
    """Any images may ask about any: here each of all about all, as the textbook does with the gallery alone."""
    _, gallery = clustered(1, 40, 8, 6, seed=3)
    index = KReciprocal(gallery)
    found = torch.cat(list(index.distances(torch.arange(40), slice(None))))
    torch.testing.assert_close(found.diagonal(), torch.zeros(40, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(found[:5, 5:], rerank(gallery[:5], gallery[5:]), atol=1e-12, rtol=0)


def test_it_helps_where_people_are_clustered():
    """What it is for: right entries that a query is far from are drawn in by those that it is near to."""
    queries, gallery, right = labelled(30, 300, 24, 30, seed=0, spread=1.0)

    def precision(distance):
        first = distance.topk(8, dim=1, largest=False).indices
        return float(right.gather(1, first).double().mean())

    assert precision(rerank(queries, gallery)) > precision(-(queries @ gallery.T)) + 0.03


@pytest.mark.parametrize("values", [{"k1": 0}, {"k2": 0}, {"own": 1.5}, {"own": float("nan")}])
def test_options_that_cannot_be(values):
    with pytest.raises(ConfigError, match="re-ranking with"):
        RerankOptions(**values)


def test_vectors_that_cannot_be():
    with pytest.raises(ShapeError, match=r"queries \(Q,D\)"):
        rerank(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ShapeError, match="NaN"):
        KReciprocal(torch.full((2, 2), float("nan")))
    with pytest.raises(ShapeError, match=r"\(N,D\)"):
        KReciprocal(torch.zeros(0, 2))
    assert rerank(torch.zeros(0, 3), torch.ones(4, 3)).shape == (0, 4)
    assert rerank(torch.ones(2, 3), torch.ones(0, 3)).shape == (2, 0)
