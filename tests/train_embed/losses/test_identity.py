"""Identity and centre losses against loops, and what of a head they look at."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.network.pcb import PCBHead
from train_embed.losses.identity import (
    CenterLoss,
    IdentityLoss,
    moved_centers,
    part_lengths,
    pooled_length,
    pooled_vector,
)

LABELS = torch.tensor([0, 2, 2, 1, 0, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_identity_loss_against_a_loop_over_parts_images_and_identities(smoothing: float) -> None:
    torch.manual_seed(0)
    loss = IdentityLoss(4, (3, 2), smoothing).double()
    for classifier in loss.classifiers:
        nn.init.normal_(classifier.weight)  # type: ignore[arg-type]
    z = torch.randn(6, 5, dtype=torch.float64)
    expected = 0.0
    for part, classifier in zip((z[:, :3], z[:, 3:]), loss.classifiers, strict=True):
        for one, label in zip(part, LABELS.tolist(), strict=True):
            scores = [float(one @ weight) for weight in classifier.weight.detach()]  # type: ignore[union-attr]
            total = sum(math.exp(s) for s in scores)
            for n, score in enumerate(scores):
                truth = smoothing / 4 + (1 - smoothing if n == label else 0)
                expected -= truth * math.log(math.exp(score) / total) / 6
    assert float(loss(z, LABELS)) == pytest.approx(expected, rel=1e-12)


def test_identity_loss_begins_with_all_identities_alike_likely() -> None:
    loss = IdentityLoss(50, (8,))
    assert float(loss(torch.nn.functional.normalize(torch.randn(6, 8)), LABELS)) == pytest.approx(
        math.log(50), abs=0.01
    )
    with pytest.raises(ShapeError, match=r"expected z \(B,8\)"):
        loss(torch.zeros(6, 7), LABELS)


def test_center_loss_and_the_way_centers_move_against_loops() -> None:
    torch.manual_seed(0)
    loss = CenterLoss(4, 3, rate=0.4).double()
    loss.centers = torch.randn(4, 3, dtype=torch.float64)
    f = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    before = loss.centers.clone()
    value = loss(f, LABELS)
    value.backward()
    expected = sum(0.5 * float((f[i] - before[c]).square().sum()) for i, c in enumerate(LABELS.tolist())) / 6
    assert float(value) == pytest.approx(expected)
    torch.testing.assert_close(f.grad, (f - before[LABELS]).detach() / 6)
    for c in range(4):
        members = [i for i, label in enumerate(LABELS.tolist()) if label == c]
        step = sum((before[c] - f[i].detach() for i in members), torch.zeros(3, dtype=torch.float64))
        torch.testing.assert_close(loss.centers[c], before[c] - 0.4 * step / (1 + len(members)))
    assert torch.equal(moved_centers(before, f[:0].detach(), LABELS[:0], 0.4), before)
    moved = loss.centers.clone()
    loss.eval()(f, LABELS)
    assert torch.equal(loss.centers, moved)


def test_what_of_a_head_is_looked_at() -> None:
    a = torch.rand(2, 4, 6, 3)
    plain, parts = PooledHead(4, "gem", "linear", 5), PCBHead(4, 3, "avg", "linear", 2)
    assert (part_lengths(plain), part_lengths(parts)) == ((5,), (2, 2, 2))
    assert torch.equal(pooled_vector(plain, a), plain.pool(a))
    expected = torch.cat([a[:, :, 2 * i : 2 * i + 2].mean((2, 3)) for i in range(3)], 1)
    torch.testing.assert_close(pooled_vector(parts, a), expected)
    assert (pooled_length(plain), pooled_length(parts)) == (4, 12)
    with pytest.raises(ConfigError, match="not a Linear"):
        part_lengths(nn.Linear(2, 2))
