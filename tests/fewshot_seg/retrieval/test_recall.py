"""Recall at K against the loop that its definition is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fewshot_seg.errors import ConfigError, DataError, ShapeError
from fewshot_seg.retrieval.recall import first_hits, nearest_others, recall_at_k


def looped(f: Tensor, labels: Tensor, k: int) -> float:
    hits = 0
    for query in range(len(f)):
        others = [i for i in range(len(f)) if i != query]
        others.sort(key=lambda i: -float(f[query] @ f[i]))
        hits += any(labels[i] == labels[query] for i in others[:k])
    return hits / len(f)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 30), classes=st.integers(1, 8), seed=st.integers(0, 99), chunk=st.integers(1, 40))
def test_against_a_loop(n: int, classes: int, seed: int, chunk: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    f = functional.normalize(torch.randn(n, 5, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.randint(classes, (n,), generator=generator)
    ks = (1, 2, 4, 100)
    got = recall_at_k(f, labels, ks, chunk=chunk)
    assert got == pytest.approx({k: looped(f, labels, k) for k in ks})


def test_the_query_is_left_out_by_its_index_and_not_by_its_rank() -> None:
    f = torch.eye(3)[torch.tensor([0, 0, 1, 1])]  # exact doubles
    assert recall_at_k(f, torch.tensor([0, 0, 1, 1]), (1,)) == {1: 1.0}
    assert recall_at_k(f, torch.tensor([0, 1, 0, 1]), (1,)) == {1: 0.0}  # the double is another class: a miss


def test_a_class_with_one_image_is_a_miss() -> None:
    f = functional.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1]]), dim=1)
    assert recall_at_k(f, torch.tensor([0, 0, 1]), (1, 2, 8)) == pytest.approx({1: 2 / 3, 2: 2 / 3, 8: 2 / 3})


def test_labels_are_not_counted_on_to_be_small_or_in_order() -> None:
    f = functional.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), dim=1)
    assert recall_at_k(f, torch.tensor([10**12, 10**12, -1, -1]), (1,)) == {1: 1.0}


def test_what_cannot_be() -> None:
    f, labels = torch.eye(3), torch.arange(3)
    with pytest.raises(ShapeError):
        recall_at_k(f, labels[:2])
    with pytest.raises(ShapeError):
        recall_at_k(f[0], labels)
    with pytest.raises(DataError):
        recall_at_k(f[:1], labels[:1])
    for ks in ((), (0,)):
        with pytest.raises(ConfigError):
            recall_at_k(f, labels, ks)


def test_equal_similarities_go_to_the_lower_row() -> None:
    f = torch.eye(2)[torch.zeros(4, dtype=torch.int64)]
    found = nearest_others(f, f, torch.arange(4), 2)
    assert found.rows.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_queries_of_which_some_are_in_the_gallery() -> None:
    gallery = torch.eye(3)
    found = nearest_others(gallery[[0, 1]], gallery, torch.tensor([0, -1]), 5)
    assert found.rows.tolist() == [[1, 2, -1], [1, 0, 2]]
    assert found.scores.tolist() == [[0, 0, -torch.inf], [1, 0, 0]]
    with pytest.raises(ShapeError, match="one own row for each of 2 queries"):
        nearest_others(gallery[:2], gallery, torch.arange(3), 1)


def test_the_first_hit() -> None:
    hits = torch.tensor([[False, True, True], [True, False, False], [False, False, False]])
    assert first_hits(hits).tolist() == [1, 0, torch.iinfo(torch.int64).max]
    assert (first_hits(hits[:, :0]) == torch.iinfo(torch.int64).max).all()
