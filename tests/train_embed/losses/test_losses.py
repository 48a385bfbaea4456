"""Losses and their tuples against loops written slowly, finite differences, and properties that must hold."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from tests.train_embed.batches import unit
from train_embed.config.loss_schema import LossConfig, Selection
from train_embed.losses import metric as losses
from train_embed.losses import selection as picks

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 2, 3, 3, 1, 4])  # class 4 has one image
SELECTIONS: list[Selection] = ["all", "hard", "semi-hard"]
OWN = ["contrastive", "triplet", "quadruplet"]
PROXIES = ["proxy-anchor", "normalized-softmax"]
EVERY = [*OWN, "multi-similarity", *PROXIES]

labels_lists = st.lists(st.integers(0, 3), min_size=0, max_size=9)
seeds = st.integers(0, 10_000)
selections = st.sampled_from(SELECTIONS)


def distance(f: Tensor, i: int, j: int) -> float:
    return math.sqrt(sum((float(f[i, k]) - float(f[j, k])) ** 2 for k in range(f.shape[1])))


def mean(terms: list[float]) -> float:
    return sum(terms) / len(terms) if terms else 0.0


def mean_active(hinges: list[float], power: int = 1) -> float:
    return mean([h**power for h in hinges if h > 0])


def nearest_beyond(d: dict[int, float], bound: float) -> int:
    """The nearest farther than the bound, else the farthest."""
    beyond = {i: x for i, x in d.items() if x > bound}
    return min(beyond, key=lambda i: beyond[i]) if beyond else max(d, key=lambda i: d[i])


def slow_triplets(f: Tensor, labels: list[int], selection: str, margin: float = math.inf) -> list[list[int]]:
    found = []
    for a in range(len(labels)):
        positives = [i for i in range(len(labels)) if labels[i] == labels[a] and i != a]
        negatives = {i: distance(f, a, i) for i in range(len(labels)) if labels[i] != labels[a]}
        if not positives or not negatives:
            continue
        if selection == "hard":
            p = max(positives, key=lambda i: distance(f, a, i))
            found.append([a, p, min(negatives, key=lambda i: negatives[i])])
            continue
        for p in positives:
            if selection == "all":
                found += [[a, p, n] for n in negatives]
                continue
            n = nearest_beyond(negatives, distance(f, a, p))
            if negatives[n] < distance(f, a, p) + margin:
                found.append([a, p, n])
    return found


def slow_pairs(f: Tensor, labels: list[int], selection: str) -> tuple[list[list[int]], list[list[int]]]:
    pairs = list(itertools.combinations(range(len(labels)), 2))
    if selection == "all":
        same = [[i, j] for i, j in pairs if labels[i] == labels[j]]
        return same, [[i, j] for i, j in pairs if labels[i] != labels[j]]
    positives, negatives = set(), set()
    if selection == "semi-hard":
        for a, p, n in slow_triplets(f, labels, selection):
            positives.add((min(a, p), max(a, p)))
            negatives.add((min(a, n), max(a, n)))
    else:
        for a in range(len(labels)):
            d = {i: distance(f, a, i) for i in range(len(labels)) if i != a}
            if same_class := [i for i in d if labels[i] == labels[a]]:
                p = max(same_class, key=lambda i: d[i])
                positives.add((min(a, p), max(a, p)))
            if other := [i for i in d if labels[i] != labels[a]]:
                n = min(other, key=lambda i: d[i])
                negatives.add((min(a, n), max(a, n)))
    return [list(x) for x in sorted(positives)], [list(x) for x in sorted(negatives)]


def slow_quadruplets(f: Tensor, labels: list[int], selection: str) -> list[list[int]]:
    found = []
    for a, p, n1 in slow_triplets(f, labels, selection):
        third = {i: distance(f, n1, i) for i in range(len(labels)) if labels[i] not in (labels[a], labels[n1])}
        if not third:
            continue
        if selection == "all":
            found += [[a, p, n1, n2] for n2 in third]
        elif selection == "hard":
            found.append([a, p, n1, min(third, key=lambda i: third[i])])
        else:
            found.append([a, p, n1, nearest_beyond(third, distance(f, a, p))])
    return found


def slow_loss(name: str, f: Tensor, labels: list[int], selection: str, margin: float, margin2: float) -> float:
    if name == "contrastive":
        positives, negatives = slow_pairs(f, labels, selection)
        together = mean([distance(f, i, j) ** 2 for i, j in positives])
        return together + mean_active([max(margin - distance(f, i, j), 0) for i, j in negatives], 2)
    if name == "triplet":
        triplets = slow_triplets(f, labels, selection)
        return mean_active([distance(f, a, p) - distance(f, a, n) + margin for a, p, n in triplets])
    quadruplets = slow_quadruplets(f, labels, selection)
    first = mean_active([distance(f, a, p) - distance(f, a, n) + margin for a, p, n, _ in quadruplets])
    return first + mean_active([distance(f, a, p) - distance(f, n, m) + margin2 for a, p, n, m in quadruplets])


def make(name: str, selection: str = "all", **numbers: float) -> torch.nn.Module:
    chosen = {"selection": selection} if name in OWN else {}
    config = LossConfig.model_validate({"name": name, **chosen, **numbers})
    return losses.make_loss(config, classes=5, dim=5)


@given(labels_lists, seeds, selections, st.sampled_from([0.05, 0.3, math.inf]))
@settings(deadline=None, max_examples=150)
def test_selections_are_the_slow_ones(labels: list[int], seed: int, selection: Selection, margin: float) -> None:
    f, y = unit(len(labels), seed=seed), torch.tensor(labels, dtype=torch.int64)
    positives, negatives = picks.select_pairs(f, y, selection)
    assert (positives.tolist(), negatives.tolist()) == slow_pairs(f, labels, selection)
    assert picks.select_triplets(f, y, selection, margin).tolist() == slow_triplets(f, labels, selection, margin)
    assert picks.select_quadruplets(f, y, selection).tolist() == slow_quadruplets(f, labels, selection)
    for found, size in ((positives, 2), (negatives, 2), (picks.select_quadruplets(f, y, selection), 4)):
        assert found.dtype == torch.int64
        assert found.shape == (len(found), size)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=8), selections, st.sampled_from([1.0, math.inf]))
@settings(deadline=None, max_examples=100)
def test_ties_go_to_the_first(rows: list[tuple[int, int, int]], selection: Selection, margin: float) -> None:
    """Whole coordinates, few of them: distances are exact and often equal."""
    f, labels = torch.tensor([row[:2] for row in rows], dtype=torch.float64).reshape(-1, 2), [row[2] for row in rows]
    y = torch.tensor(labels, dtype=torch.int64)
    assert picks.select_triplets(f, y, selection, margin).tolist() == slow_triplets(f, labels, selection, margin)
    assert picks.select_quadruplets(f, y, selection).tolist() == slow_quadruplets(f, labels, selection)
    assert [pairs.tolist() for pairs in picks.select_pairs(f, y, selection)] == [*slow_pairs(f, labels, selection)]


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("name", OWN)
@given(seed=seeds, margin=st.floats(0, 1.5), labels=labels_lists)
@settings(deadline=None, max_examples=30)
def test_losses_are_the_slow_ones(name: str, selection: str, seed: int, margin: float, labels: list[int]) -> None:
    f, y = unit(len(labels), seed=seed), torch.tensor(labels, dtype=torch.int64)
    numbers = {"margin": margin} | ({"margin2": margin / 2} if name == "quadruplet" else {})
    value = make(name, selection, **numbers)(f, y)
    assert value.shape == ()
    assert float(value) == pytest.approx(slow_loss(name, f, labels, selection, margin, margin / 2), abs=1e-9)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("name", EVERY)
def test_gradients_are_those_of_finite_differences(name: str, selection: str) -> None:
    loss = make(name, selection).double()
    f = unit(len(LABELS)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, LABELS), (f,))
    assert torch.autograd.grad(loss(f, LABELS), f)[0].abs().max() > 0


@pytest.mark.parametrize("name", PROXIES)
def test_proxies_are_parameters_with_a_gradient(name: str) -> None:
    loss = make(name)
    (proxies,) = loss.parameters()
    assert proxies.shape == (5, 5)
    loss(unit(len(LABELS)).float(), LABELS).backward()
    assert proxies.grad is not None
    assert proxies.grad.abs().sum() > 0


def test_multi_similarity_is_its_paper() -> None:
    """Wang 2019, equations 11 to 15: mined by the margin of 0.1, then weighed."""
    f, alpha, beta, base, epsilon = unit(len(LABELS)), 2.0, 50.0, 0.5, 0.1
    s = (f @ f.t()).tolist()
    total = 0.0
    for i, own in enumerate(LABELS.tolist()):
        positive = [s[i][j] for j, other in enumerate(LABELS.tolist()) if other == own and j != i]
        negative = [s[i][j] for j, other in enumerate(LABELS.tolist()) if other != own]
        if not positive or not negative:
            continue
        kept = [x for x in positive if x - epsilon < max(negative)]
        pushed = [x for x in negative if x + epsilon > min(positive)]
        total += math.log1p(sum(math.exp(-alpha * (x - base)) for x in kept)) / alpha
        total += math.log1p(sum(math.exp(beta * (x - base)) for x in pushed)) / beta
    assert float(make("multi-similarity")(f, LABELS)) == pytest.approx(total / len(LABELS), rel=1e-6)


def test_proxy_anchor_is_its_paper() -> None:
    """Kim 2020, equation 4."""
    loss, f = make("proxy-anchor").double(), unit(len(LABELS))
    proxies = torch.nn.functional.normalize(next(loss.parameters()).detach(), dim=1)
    s, margin, alpha = (f @ proxies.t()).tolist(), 0.1, 32.0
    y = LABELS.tolist()
    pull = [
        math.log1p(sum(math.exp(-alpha * (s[i][c] - margin)) for i in range(len(y)) if y[i] == c)) for c in range(5)
    ]
    push = [math.log1p(sum(math.exp(alpha * (s[i][c] + margin)) for i in range(len(y)) if y[i] != c)) for c in range(5)]
    assert loss(f, LABELS).item() == pytest.approx(sum(pull) / len(set(y)) + sum(push) / 5, rel=1e-6)


def test_normalized_softmax_is_its_paper() -> None:
    """Zhai and Wu 2019, equation 4, with a temperature of 1/16."""
    loss, f = make("normalized-softmax").double(), unit(len(LABELS))
    proxies = torch.nn.functional.normalize(next(loss.parameters()).detach(), dim=1)
    s = (16 * f @ proxies.t()).tolist()
    terms = [math.log(sum(math.exp(x) for x in row)) - row[y] for row, y in zip(s, LABELS.tolist(), strict=True)]
    assert loss(f, LABELS).item() == pytest.approx(mean(terms), rel=1e-6)


@pytest.mark.parametrize("name", EVERY)
@given(seed=seeds)
@settings(deadline=None, max_examples=10)
def test_order_of_the_batch_and_names_of_classes_do_not_matter(name: str, seed: int) -> None:
    loss = make(name, "semi-hard").double()
    f, order = unit(len(LABELS), seed=seed), torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(seed))
    expected = loss(f, LABELS)
    torch.testing.assert_close(loss(f[order], LABELS[order]), expected)
    if name not in PROXIES:
        torch.testing.assert_close(loss(f, 7 - LABELS), expected)


@pytest.mark.parametrize("name", OWN)
def test_classes_far_apart_cost_nothing(name: str) -> None:
    f = torch.eye(5, dtype=torch.float64)[LABELS]
    assert float(make(name)(f, LABELS)) == 0


NO_TUPLES: list[list[int]] = [[], [3], [0, 1, 2], [1, 1, 1]]


@pytest.mark.parametrize(
    ("name", "labels"),
    # The library's losses take no batch of none; the loader makes none.
    [(name, labels) for name in EVERY for labels in NO_TUPLES if labels or name in OWN],
)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_batch_without_tuples_still_goes_backward(name: str, selection: str, labels: list[int]) -> None:
    f = unit(len(labels)).requires_grad_()
    value = make(name, selection).double()(f, torch.tensor(labels, dtype=torch.int64))
    value.backward()
    assert torch.isfinite(value)
    assert f.grad is not None
    assert torch.isfinite(f.grad).all()


@pytest.mark.parametrize("name", OWN)
def test_equal_embeddings_have_a_finite_gradient(name: str) -> None:
    f = torch.ones(8, 4, dtype=torch.float64).div(2).requires_grad_()
    make(name)(f, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])).backward()
    assert f.grad is not None
    assert torch.isfinite(f.grad).all()


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("name", OWN)
def test_nan_is_not_hidden(name: str, selection: str) -> None:
    f = unit(len(LABELS)).clone()
    f[0] = math.nan
    assert math.isnan(float(make(name, selection)(f, LABELS)))


def test_close_vectors_keep_their_distance_in_float32() -> None:
    f = unit(64, 256).float()
    moved = f + 1e-4 * unit(64, 256, seed=1).float()
    expected = (f.double() - moved.double()).norm(dim=1)
    measured = picks.distances(torch.cat([f, moved])).diagonal(64)
    torch.testing.assert_close(measured.double(), expected, rtol=1e-2, atol=0)


def test_shapes_and_names_are_checked() -> None:
    f = unit(4)
    with pytest.raises(ShapeError, match=r"labels \(B,\)"):
        picks.select_pairs(f, torch.zeros(3))
    with pytest.raises(ShapeError, match=r"\(T,3\)"):
        losses.triplet_loss(f, torch.zeros(2, 4, dtype=torch.int64), 0.1)
    with pytest.raises(ShapeError, match=r"\(B,D\)"):
        losses.contrastive_loss(f[0], *picks.select_pairs(f, torch.zeros(4)), 0.1)
    with pytest.raises(ConfigError, match="unknown selection 'soft'"):
        picks.select_triplets(f, torch.zeros(4), "soft")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown loss 'lifted'"):
        losses.make_loss(LossConfig.model_construct(name="lifted"), 2, 2)  # type: ignore[arg-type]


def test_a_missing_library_is_one_line() -> None:
    """In a process of its own, where the library is barred as if it weren't installed."""
    code = """
import sys
sys.modules["pytorch_metric_learning"] = None
from train_embed.config.loss_schema import LossConfig
from train_embed.losses import metric as losses
losses.make_loss(LossConfig(name="triplet"), 2, 2)
try:
    losses.make_loss(LossConfig(name="multi-similarity"), 2, 2)
except losses.ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "loss multi-similarity needs pytorch-metric-learning: pip install 'fewshot-seg[metric]'"
    )
