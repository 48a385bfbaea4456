"""Samplers: what a batch is made of, that it is a pure function, and that the ranks' parts make it up."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fewshot_seg.errors import ConfigError, DataError
from train_embed.data.samplers import PairSampler, PKSampler, QuadrupletSampler, TripletSampler, shard

LABELS = st.lists(st.integers(0, 12), min_size=1, max_size=80)
TUPLES = {PairSampler: 2, TripletSampler: 2, QuadrupletSampler: 3}  # classes that each takes


def epoch_of(sampler, epoch):
    """All batches of an epoch, in order."""
    return [sampler.batch(epoch, number) for number in range(len(sampler))]


@st.composite
def samplers(draw):
    """Any sampler that can be made, with its labels."""
    labels, seed = draw(LABELS), draw(st.integers(0, 2**40))
    kind = draw(st.sampled_from([PKSampler, *TUPLES]))
    if kind is PKSampler:
        p, k = draw(st.integers(1, 6)), draw(st.integers(1, 5))
        assume(len(set(labels)) >= p)
        return labels, PKSampler(labels, p, k, seed)
    assume(len(set(labels)) >= TUPLES[kind] and len(set(labels)) < len(labels))
    return labels, kind(labels, draw(st.integers(1, 7)), seed)


@given(samplers(), st.integers(0, 9), st.randoms(use_true_random=False))
def test_a_batch_depends_on_seed_epoch_and_number_alone(made, epoch, order):
    labels, sampler = made
    batches = epoch_of(sampler, epoch)
    assert len(batches) == len(sampler) >= 1
    numbers = list(range(len(batches)))
    order.shuffle(numbers)
    if isinstance(sampler, PKSampler):
        again = PKSampler(labels, sampler.p, sampler.k, sampler.seed)
    else:
        again = type(sampler)(labels, sampler.tuples, sampler.seed)
    again.batch(epoch + 1, 0)
    random.seed(epoch)
    assert {n: again.batch(epoch, n) for n in numbers} == dict(enumerate(batches))
    for batch in batches:
        assert len(batch) == sampler.batch_size
        assert all(type(index) is int and 0 <= index < len(labels) for index in batch)


@given(samplers(), st.integers(1, 4), st.integers(0, 5))
def test_the_ranks_parts_are_the_batch(made, world, epoch):
    _, sampler = made
    units = sampler.batch_size // sampler.unit
    batch = sampler.batch(epoch, 0)
    if units % world:
        with pytest.raises(ConfigError, match=f"{units} classes or tuples a batch cannot be shared out over {world}"):
            shard(batch, 0, world, sampler.unit)
        return
    parts = [shard(batch, rank, world, sampler.unit) for rank in range(world)]
    assert tuple(itertools.chain(*parts)) == batch
    assert len({len(part) for part in parts}) == 1
    assert all(len(part) % sampler.unit == 0 for part in parts)


@given(LABELS, st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_pk_batches(labels, p, k, seed):
    sizes = Counter(labels)
    assume(len(sizes) >= p)
    sampler = PKSampler(labels, p, k, seed)
    assert len(sampler) == max(1, len(labels) // (p * k))
    for batch in epoch_of(sampler, 3):
        runs = [batch[i : i + k] for i in range(0, len(batch), k)]
        classes = [{labels[index] for index in run} for run in runs]
        assert all(len(of_run) == 1 for of_run in classes)
        assert len(set.union(*classes)) == p
        for run, (label,) in zip(runs, classes, strict=True):
            times = Counter(run)
            assert len(times) == min(k, sizes[label])
            assert max(times.values()) - min(times.values()) <= 1, "a small class repeats its images evenly"


def test_pk_shows_every_class_alike_and_all_images_before_it_repeats_one():
    labels = [label for label in range(8) for _ in range(6)]
    sampler = PKSampler(labels, 4, 2, seed=5)
    seen = [index for batch in epoch_of(sampler, 0) for index in batch]
    assert sorted(seen) == list(range(48)), "8 classes of 6 divide evenly: an epoch is every image once"


def test_what_a_round_leaves_over_differs_from_round_to_round():
    labels = [label for label in range(5) for _ in range(40)]
    sampler = PKSampler(labels, 2, 2, seed=0)
    of_batches = [{labels[index] for index in batch} for batch in epoch_of(sampler, 0)]
    left_over = {min(set(range(5)) - a - b) for a, b in zip(of_batches[::2], of_batches[1::2], strict=True)}
    assert all(not a & b for a, b in zip(of_batches[::2], of_batches[1::2], strict=True))
    assert left_over == set(range(5))


@settings(max_examples=30)
@given(st.integers(0, 2**62), st.integers(0, 1000))
def test_epochs_and_seeds_differ(seed, epoch):
    labels = [label for label in range(20) for _ in range(20)]
    for kind, size in ((PKSampler, (5, 4)), (TripletSampler, (7,))):
        batches = epoch_of(kind(labels, *size, seed), epoch)
        assert batches != epoch_of(kind(labels, *size, seed), epoch + 1)
        assert batches != epoch_of(kind(labels, *size, seed + 1), epoch)
        assert len(set(batches)) == len(batches)


@given(samplers(), st.integers(0, 5))
def test_tuples(made, epoch):
    labels, sampler = made
    assume(not isinstance(sampler, PKSampler))
    sizes = Counter(labels)
    anchors = []
    for number, batch in enumerate(epoch_of(sampler, epoch)):
        for place in range(sampler.tuples):
            anchor, *others = batch[place * sampler.unit : (place + 1) * sampler.unit]
            anchors.append(anchor)
            same = type(sampler) is not PairSampler or (number * sampler.tuples + place) % 2 == 0
            if same:
                positive, *others = others
                assert labels[positive] == labels[anchor]
                assert positive != anchor
            assert len({labels[index] for index in (anchor, *others)}) == 1 + len(others), "classes all differ"
    times = Counter(anchors)
    able = [index for index, label in enumerate(labels) if sizes[label] > 1]
    assert set(times) <= set(able), "an image alone in its class is no anchor"
    fewest = min(times[index] for index in able)
    assert max(times.values()) - fewest <= 1, "every image that can be an anchor is, as often as any other"


def test_tuples_are_flat_lists_of_the_right_shape():
    labels = [0, 0, 1, 1, 2, 2]
    for kind, size in ((PairSampler, 2), (TripletSampler, 3), (QuadrupletSampler, 4)):
        sampler = kind(labels, 3, seed=0)
        assert (sampler.unit, sampler.batch_size, len(sampler)) == (size, 3 * size, 2)


def test_the_number_of_batches_can_be_set():
    assert len(epoch_of(PKSampler([0, 0, 1], 2, 2, 0, batches=7), 0)) == 7
    assert len(epoch_of(TripletSampler([0, 0, 1], 5, 0, batches=3), 0)) == 3


def test_a_class_with_one_image():
    assert Counter(PKSampler([0, 1, 1], 2, 3, 0).batch(0, 0))[0] == 3
    assert {PairSampler([0, 1, 1], 1, 0).batch(e, 0)[0] for e in range(20)} == {1, 2}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: PKSampler([], 1, 1, 0), DataError, "no images"),
        (lambda: PKSampler([0, 1], 3, 1, 0), DataError, "3 classes cannot be made of 2"),
        (lambda: PKSampler([0], 0, 1, 0), ConfigError, "1 or more"),
        (lambda: PKSampler([0], 1, 0, 0), ConfigError, "1 or more"),
        (lambda: PKSampler([0], 1, 1, -1), ConfigError, "seed -1"),
        (lambda: PKSampler([0], 1, 1, 0, batches=0), ConfigError, "batches per epoch 0"),
        (lambda: TripletSampler([], 1, 0), DataError, "no images"),
        (lambda: TripletSampler([0, 0], 1, 0), DataError, "tuples of 2 classes cannot be made of 1"),
        (lambda: QuadrupletSampler([0, 0, 1], 1, 0), DataError, "tuples of 3 classes cannot be made of 2"),
        (lambda: PairSampler([0, 1, 2], 1, 0), DataError, "no class has two images"),
        (lambda: PairSampler([0, 0, 1], 0, 0), ConfigError, "1 or more"),
        (lambda: shard([0, 1], 2, 2, 1), ConfigError, "rank 2 of 2"),
        (lambda: shard([0, 1, 2], 0, 1, 2), ConfigError, "cannot be shared out"),
    ],
)
def test_samplers_that_cannot_be(make, error, message):
    with pytest.raises(error, match=message):
        make()
