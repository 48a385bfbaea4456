"""Whether the object is there at all: the signs against a loop, and that any start learns."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_seg.matching.presence import Presence

C, L = 12, 5


def episode(b: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, shots, their soft foreground (on a finer grid), and the kinds in both."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.softmax(4 * torch.randn(b * (k + 1), L + 1, 6, 6, generator=g), 1)[:, 1:]
    maps = torch.rand(b * (k + 1), C, 4, 4, generator=g)
    soft = torch.rand(b, k, 8, 8, generator=g)
    return maps[:b], maps[b:].view(b, k, C, 4, 4), soft, kinds[:b], kinds[b:].view(b, k, L, 6, 6)


def shares(soft: Tensor, side: int) -> Tensor:
    weight = F.adaptive_avg_pool2d(soft[None, None], (side, side))[0, 0].flatten() + 0.02
    return weight / weight.sum()


@torch.no_grad()
def slow(head: Presence, queries: Tensor, shots: Tensor, soft: Tensor, own: Tensor, others: Tensor) -> list[float]:
    """Query by query, shot by shot, position by position."""
    found = []
    for i in range(len(queries)):
        k = shots.shape[1]
        shown = sum(shots[i, j].flatten(1) @ shares(soft[i, j], 4) for j in range(k)) / k
        mine = F.normalize(head.metric(shown), dim=0)
        places = [F.normalize(head.metric(place), dim=0) @ mine for place in queries[i].flatten(1).T]
        s = float(head.log_sharpness.exp())
        softest = math.log(sum(math.exp(s * float(one)) for one in places) / 16) / s
        whole = F.normalize(head.metric(queries[i].flatten(1).mean(1)), dim=0) @ mine
        signs = [float(max(places)), softest, float(sum(places)) / 16, float(whole)]  # 5 % of 16 are one
        kinds = sum(others[i, j].flatten(1) @ shares(soft[i, j], 6) for j in range(k)) / k
        explained = float(kinds.sum())
        best = own[i].flatten(1).topk(2, dim=1).values.mean(1)  # 5 % of 36 are two
        sure = float(kinds @ best) / (explained + 1e-6)
        found.append(float(head.decide(torch.tensor([*signs, explained, sure, explained * sure]))))
    return found


def test_logits_against_a_loop() -> None:
    torch.manual_seed(1)
    head = Presence(C, L).eval()
    torch.nn.init.normal_(head.decide.weight)
    given = episode(3, 2)
    with torch.no_grad():
        assert head(*given).tolist() == pytest.approx(slow(head, *given), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_it_learns_from_wherever_it_starts(seed: int) -> None:
    torch.manual_seed(seed)
    head = Presence(C, L)
    assert (head.decide.weight > 0).all(), "no sign speaks against it"
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    losses = []
    for step in range(120):
        queries, shots, _, kinds, of_shots = (0.3 * one for one in episode(32, 1, step))
        there = torch.arange(32) % 2 == 0
        thing = torch.randint(0, C, (32,), generator=torch.Generator().manual_seed(step))
        asked = torch.where(there, thing, (thing + 1 + step % (C - 1)) % C)
        shots[torch.arange(32), 0, thing] += 3
        queries[torch.arange(32), asked, :2, :2] += 3
        loss = F.binary_cross_entropy_with_logits(
            head(queries, shots, torch.ones(32, 1, 8, 8), kinds, of_shots), there.float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.55 < math.log(2)
