"""The Grad-CAM baseline against Grad-CAM done by autograd through the whole network, and cross-entropy pair by pair."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.embedding import Embedder
from tests.train_embed.batches import DIM, pictures, tiny_embedder, unit
from train_embed import mining
from train_embed.mining.gradcam import PairClassifier, grad_cam, gradcam_mining_loss, pair_bce_loss

KINDS: list[mining.TupleKind] = ["pair", "triplet", "quadruplet"]
TUPLES = {
    "pair": torch.tensor([[0, 1], [2, 3]]),
    "triplet": torch.tensor([[0, 1, 2], [3, 2, 1]]),
    "quadruplet": torch.tensor([[0, 1, 2, 4], [3, 2, 1, 4]]),
}
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 2])


def classifier() -> PairClassifier:
    return PairClassifier(DIM, hidden=7).double()


def slow_cam(embedder: Embedder, judge: PairClassifier, image: Tensor, other: Tensor, same: bool) -> Tensor:
    """Grad-CAM (h,w) of one image (3,H,W) with another: the true answer's logit back to the last map."""
    a = embedder.trunk(image[None]).detach().requires_grad_()
    logit = judge(embedder.head(a), embedder(other[None]).vector.detach()).sum()
    (gradient,) = torch.autograd.grad(logit if same else -logit, a)
    alpha = gradient.mean(dim=(2, 3))[0]
    return sum(alpha[k] * a[0, k] for k in range(len(alpha))).relu().detach()  # type: ignore[union-attr, return-value]


@pytest.mark.parametrize("pooling", ["avg", "gem"])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_grad_cam(kind: mining.TupleKind, pooling: str) -> None:
    embedder, judge, images, tuples = tiny_embedder(pooling), classifier(), pictures(5), TUPLES[kind]
    maps = grad_cam(embedder, judge, embedder(images), tuples, mining.MiningOptions(kind))
    expected = []
    for column in range(tuples.shape[1]):
        for row in tuples.tolist():
            other = row[1] if column == 0 else row[0]
            expected.append(slow_cam(embedder, judge, images[row[column]], images[other], same=column < 2))
    torch.testing.assert_close(maps, torch.stack(expected))
    assert maps.max() > 0


def test_bce_is_the_slow_one() -> None:
    f, judge = unit(len(LABELS)), classifier()
    terms: dict[bool, list[float]] = {True: [], False: []}
    for i, j in itertools.combinations(range(len(LABELS)), 2):
        same = bool(LABELS[i] == LABELS[j])
        probability = 1 / (1 + math.exp(-judge(f[i : i + 1], f[j : j + 1]).item()))
        terms[same].append(-math.log(probability if same else 1 - probability))
    expected = sum(sum(t) / len(t) for t in terms.values()) / 2
    assert pair_bce_loss(judge, f, LABELS).item() == pytest.approx(expected)


def test_bce_has_the_gradient_of_finite_differences() -> None:
    judge, f = classifier(), unit(len(LABELS)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pair_bce_loss(judge, x, LABELS), (f,))
    pair_bce_loss(judge, f, LABELS).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in judge.parameters())


@pytest.mark.parametrize("labels", [[], [0], [0, 0], [0, 1]])
def test_bce_of_a_batch_that_lacks_a_kind_of_pair(labels: list[int]) -> None:
    judge, f = classifier(), unit(len(labels)).requires_grad_()
    loss = pair_bce_loss(judge, f, torch.tensor(labels, dtype=torch.int64))
    loss.backward()
    assert torch.isfinite(loss)
    assert (loss.item() == 0) == (len(labels) < 2)


def test_the_classifier_is_symmetric_and_learns() -> None:
    f, judge = unit(len(LABELS)), classifier()
    torch.testing.assert_close(judge(f, f.flip(0)), judge(f.flip(0), f))
    optimizer = torch.optim.Adam(judge.parameters(), lr=0.05)
    first = pair_bce_loss(judge, f, LABELS).item()
    for _ in range(40):
        optimizer.zero_grad()
        loss = pair_bce_loss(judge, f, LABELS)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first


@pytest.mark.parametrize("kind", KINDS)
def test_mining_loss_is_the_same_erasing_with_other_maps(kind: mining.TupleKind) -> None:
    embedder, judge, images, tuples = tiny_embedder(), classifier(), pictures(5), TUPLES[kind]
    options = mining.MiningOptions(kind, alpha=5.0, beta=0.3)
    maps = grad_cam(embedder, judge, embedder(images), tuples, options).detach()
    total = 0.0
    for t, row in enumerate(tuples.tolist()):
        own = maps[t :: len(tuples)]
        f = [*embedder(mining.soft_mask(images[row], own, 5.0, 0.3)).vector.detach()]
        d = [float((f[0] - g).norm()) for g in f[1:]]
        total += -d[0] if kind == "pair" else sum(abs(d[0] - n) for n in d[1:])
    loss = gradcam_mining_loss(embedder, judge, images, embedder(images), tuples, options)
    assert loss.item() == pytest.approx(total / len(tuples))


@pytest.mark.parametrize("detach", [True, False])
def test_gradient_goes_to_the_embedder_and_not_to_the_classifier(detach: bool) -> None:
    embedder, judge, images = tiny_embedder(neck="linear+bn").train(), classifier(), pictures(5)
    emb = embedder(images)
    emb.feature_map.retain_grad()
    options = mining.MiningOptions("triplet", detach_maps=detach)
    gradcam_mining_loss(embedder, judge, images, emb, TUPLES["triplet"], options).backward()
    assert all(p.grad is None for p in judge.parameters())
    assert all(p.grad is not None for p in embedder.trunk.parameters())
    assert (emb.feature_map.grad is None) == detach
    assert embedder.head.training


def test_maps_in_inference_mode() -> None:
    embedder, judge, images = tiny_embedder(), classifier(), pictures(5)
    options = mining.MiningOptions("triplet", detach_maps=True)
    expected = grad_cam(embedder, judge, embedder(images), TUPLES["triplet"], options)
    with torch.inference_mode():
        maps = grad_cam(embedder, judge, embedder(images), TUPLES["triplet"], options)
    torch.testing.assert_close(maps, expected)


def test_no_tuples_and_bad_input() -> None:
    embedder, judge, images = tiny_embedder(), classifier(), pictures(5)
    none = torch.zeros(0, 3, dtype=torch.int64)
    assert gradcam_mining_loss(embedder, judge, images, embedder(images), none).item() == 0
    with pytest.raises(ShapeError, match=r"pair tuples of shape \(T,2\)"):
        grad_cam(embedder, judge, embedder(images), TUPLES["triplet"], mining.MiningOptions("pair"))
    with pytest.raises(ShapeError, match="one shape"):
        judge(unit(2), unit(3))
    with pytest.raises(ConfigError, match="at least 1"):
        PairClassifier(0)
