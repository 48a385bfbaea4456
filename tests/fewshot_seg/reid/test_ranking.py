"""CMC, average precision and mINP, against a list that is gone through entry by entry."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.reid.ranking import (
    Identities,
    QueryScores,
    masks,
    one_each,
    other_cameras,
    right_ranks,
    score,
    score_rows,
    similarity_rows,
)
from tests.fewshot_seg.reid.slow import ranked_list, scores_of


def people(rows, distractor=None):
    """Identities of [(identity, camera or None, item or None)]."""
    columns = [None if one[0] is None else torch.tensor(one) for one in zip(*rows, strict=True)]
    return Identities(*columns, distractor)


@st.composite
def searches(draw):
    """Queries, a gallery, similarities with many ties, and a distractor or none; cameras and items, or not."""
    q, g = draw(st.integers(1, 5)), draw(st.integers(1, 14))
    cameras = st.integers(1, 2) if draw(st.booleans()) else st.none()
    items = st.integers(0, 30) if draw(st.booleans()) else st.none()
    queries = [(draw(st.integers(0, 3)), draw(cameras), draw(items)) for _ in range(q)]
    gallery = [(draw(st.integers(-1, 4)), draw(cameras), draw(items)) for _ in range(g)]
    similarity = [[draw(st.sampled_from([-0.5, 0.0, 0.25, 0.25, 0.75])) for _ in range(g)] for _ in range(q)]
    return queries, gallery, similarity, draw(st.sampled_from([None, 0]))


@settings(max_examples=150, deadline=None)
@given(searches())
def test_every_score_is_that_of_the_list_gone_through_by_hand(search):
    queries, gallery, similarity, distractor = search
    rows = iter(torch.tensor(similarity).split(2))
    found = score_rows(rows, people(queries), people(gallery, distractor))[0]
    for place, (query, row) in enumerate(zip(queries, similarity, strict=True)):
        expected = scores_of(ranked_list(row, query, gallery, distractor=distractor))
        if expected is None:
            assert (found.right[place], bool(found.answerable[place])) == (0, False)
            assert all(math.isnan(getattr(found, name)[place]) for name in ("first", "ap", "ap_trapezoid", "inp"))
            assert math.isnan(found.hits(1)[place])
            continue
        assert found.first[place] == expected["first"]
        for name in ("ap", "ap_trapezoid", "inp"):
            assert getattr(found, name)[place] == pytest.approx(expected[name], abs=1e-12)
        for k, hit in expected["hits"].items():
            assert found.hits(k)[place] == hit


@settings(max_examples=60, deadline=None)
@given(searches(), st.randoms(use_true_random=False))
def test_the_gallery_s_order_changes_nothing(search, random):
    queries, gallery, similarity, distractor = search
    order = list(range(len(gallery)))
    random.shuffle(order)
    first = score_rows([torch.tensor(similarity)], people(queries), people(gallery, distractor))[0]
    other = torch.tensor([[row[i] for i in order] for row in similarity])
    second = score_rows([other], people(queries), people([gallery[i] for i in order], distractor))[0]
    for name in ("right", "first", "ap", "ap_trapezoid", "inp"):
        assert torch.equal(torch.nan_to_num(getattr(first, name)), torch.nan_to_num(getattr(second, name)))


def test_market_s_rules_in_one_list():
    """Junk and the own camera's own identity are passed over; a distractor is as wrong as anybody else."""
    query = people([(7, 1, None)])
    gallery = people([(7, 1, None), (-1, 2, None), (0, 2, None), (7, 2, None), (8, 1, None), (7, 3, None)])
    similarity = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])
    counted, right = masks(query, gallery)
    assert counted.tolist() == [[False, False, True, True, True, True]]
    assert right.tolist() == [[False, False, False, True, False, True]]
    assert right_ranks(similarity, counted, right).tolist() == [[1, 3]]
    found = score(right_ranks(similarity, counted, right))
    assert found.ap.tolist() == [pytest.approx((1 / 2 + 2 / 4) / 2)]
    assert found.ap_trapezoid.tolist() == [pytest.approx(((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)]
    assert found.inp.tolist() == [2 / 4]
    assert found.cmc((1, 2)) == {1: 0.0, 2: 1.0}


def test_without_cameras_the_query_itself_alone_is_left_out():
    shots = people([(1, None, 10), (1, None, 11), (2, None, 12)])
    counted, right = masks(shots, shots)
    assert counted.tolist() == [[False, True, True], [True, False, True], [True, True, False]]
    assert right.tolist() == [[False, True, False], [True, False, False], [False, False, False]]


def test_other_cameras_alone():
    query = people([(7, 1, None)])
    gallery = people([(7, 1, None), (8, 1, None), (7, 2, None), (8, 2, None)])
    counted, right = other_cameras(query, gallery)
    assert counted.tolist() == [[False, False, True, True]]
    assert right.tolist() == [[False, False, True, False]]
    with pytest.raises(ConfigError, match="cameras are known"):
        other_cameras(query, people([(7, None, None)]))


def test_one_score_for_everything_gains_nothing():
    query, gallery = people([(1, None, None)]), people([(1, None, None)] + [(2, None, None)] * 9)
    found = score_rows([torch.zeros(1, 10)], query, gallery)[0]
    assert found.first.tolist() == [9]
    assert found.cmc((1, 10)) == {1: 0.0, 10: 1.0}


def test_queries_without_an_answer_count_nowhere():
    queries = people([(1, None, None), (5, None, None)])
    found = score_rows([torch.tensor([[1.0, 0.0], [1.0, 0.0]])], queries, people([(1, None, None), (2, None, None)]))[0]
    assert (found.cmc((1,)), found.mean("ap"), found.mean("inp")) == ({1: 1.0}, 1.0, 1.0)


def test_many_right_entries_are_counted_as_few_are():
    """More right entries than the threshold between counting and sorting, ties among them."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 3, (60,), generator=generator)
    similarity = torch.randint(0, 12, (20, 60), generator=generator).float()
    queries = [(int(i), None, None) for i in ids[:20]]
    gallery = [(int(i), None, None) for i in ids]
    found = score_rows([similarity], people(queries), people(gallery))[0]
    for place, row in enumerate(similarity.tolist()):
        expected = scores_of(ranked_list(row, queries[place], gallery))
        assert found.ap[place] == pytest.approx(expected["ap"], abs=1e-12)
        assert found.inp[place] == pytest.approx(expected["inp"], abs=1e-12)


def test_vectors_are_scored_as_their_cosines_are():
    generator = torch.Generator().manual_seed(1)
    f = torch.nn.functional.normalize(torch.randn(30, 8, generator=generator, dtype=torch.float64), dim=1)
    shots = Identities(torch.arange(30) % 6, torch.arange(30) % 4, torch.arange(30))
    by_vector = score_rows(similarity_rows(f[:10], f), shots.take(slice(10)), shots)[0]
    by_row = score_rows([f[:10] @ f.T], shots.take(slice(10)), shots)[0]
    assert torch.equal(by_vector.ap, by_row.ap)


@settings(max_examples=80, deadline=None)
@given(searches(), st.integers(0, 2**63 - 1))
def test_a_single_shot_is_the_list_of_one_entry_each(search, seed):
    """The drawn gallery is written out, and then the list is gone through by hand."""
    queries, gallery, similarity, _ = search
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(seed)).tolist()
    by_order = sorted(range(len(gallery)), key=order.__getitem__)
    rule = partial(one_each, seed=seed)
    found = score_rows(torch.tensor(similarity).split(1), people(queries), people(gallery), [rule])[0]
    for place, (query, row) in enumerate(zip(queries, similarity, strict=True)):
        drawn = {}
        for index in by_order:
            if gallery[index][0] != -1:
                drawn.setdefault(gallery[index][0], index)
        itself = query[2] is not None and query[2] in [gallery[index][2] for index in drawn.values()]
        kept = [index for index, _ in ranked_list(row, query, gallery)]
        own = [index for index in by_order if index in kept and gallery[index][0] == query[0]]
        if itself or not own:
            assert found.right[place] == 0
            continue
        chosen = [own[0], *(i for identity, i in drawn.items() if identity != query[0] and i in kept)]
        expected = scores_of(ranked_list([row[i] for i in chosen], query, [gallery[i] for i in chosen]))
        assert (found.first[place], found.ap[place]) == (expected["first"], pytest.approx(expected["ap"]))


def test_a_query_that_is_drawn_into_the_gallery_does_not_ask():
    """VehicleID: one image of each vehicle is the gallery, all others ask."""
    shots = people([(identity, None, 3 * identity + n) for identity in range(4) for n in range(3)])
    similarity = torch.eye(12) + 0.1
    for seed in range(5):
        found = score_rows([similarity], shots, shots, [partial(one_each, seed=seed)])[0]
        assert int(found.answerable.sum()) == 8
    _, first = one_each(shots, shots, seed=0)
    _, second = one_each(shots, shots, seed=1)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("k", [0, -1])
def test_cmc_at_no_rank(k):
    with pytest.raises(ConfigError, match=f"rank {k}"):
        score(torch.tensor([[0]])).cmc((k,))


def test_what_cannot_be_ranked():
    with pytest.raises(ShapeError, match="NaN or infinite"):
        right_ranks(torch.tensor([[math.nan]]), torch.tensor([[True]]), torch.tensor([[True]]))
    with pytest.raises(ShapeError, match=r"\(Q,G\) all three"):
        right_ranks(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.ones(2, 1, dtype=torch.bool))
    with pytest.raises(ShapeError, match="cameras must be"):
        Identities(torch.zeros(2, dtype=torch.int64), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ShapeError, match="ids must be whole numbers"):
        Identities(torch.zeros(2))
    ids = Identities(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ShapeError, match="similarities of 1 queries for 2"):
        score_rows([torch.zeros(1, 2)], ids, ids)
    with pytest.raises(ShapeError, match=r"\(Q,D\)"):
        score_rows(similarity_rows(torch.zeros(2, 3), torch.zeros(2, 4)), ids, ids)


def test_no_queries_have_no_mean():
    empty = score_rows([], Identities(torch.zeros(0, dtype=torch.int64)), Identities(torch.zeros(3, dtype=torch.int64)))
    assert isinstance(empty[0], QueryScores)
    assert math.isnan(empty[0].mean("ap"))
