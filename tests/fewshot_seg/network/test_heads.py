"""Pooled heads: values against the slow way, gradients against autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.heads import GEM_EPS, PooledHead

POOLINGS = ("avg", "max", "avg+max", "gem")
NECKS = (None, "linear", "bn", "linear+bn")
HEADS = list(itertools.product(POOLINGS, NECKS))
CHANNELS = 6


def make_head(pooling: str, neck: str | None, p: float = 2.7) -> PooledHead:
    """A head in float64 whose every parameter differs from its start."""
    dim = 4 if neck in ("linear", "linear+bn") else None
    head = PooledHead(CHANNELS, pooling, neck, dim).double().eval()
    if head.bn is not None:
        assert head.bn.running_mean is not None
        assert head.bn.running_var is not None
        head.bn.running_mean.normal_()
        head.bn.running_var.uniform_(0.5, 2)
        torch.nn.init.uniform_(head.bn.weight, 0.5, 2)
        torch.nn.init.normal_(head.bn.bias)
    if head.p is not None:
        torch.nn.init.constant_(head.p, p)
    return head


def relu_map(batch: int = 3, h: int = 4, w: int = 5) -> Tensor:
    """Half of it zeros, one channel all zeros, and one with a tie at its maximum."""
    feature_map = torch.randn(batch, CHANNELS, h, w, dtype=torch.float64).relu()
    feature_map[0, 0] = 0
    feature_map[0, 1, :2, :2] = 9.0
    return feature_map.requires_grad_()


@pytest.mark.parametrize(("pooling", "neck"), HEADS)
def test_closed_form_is_autograds(pooling: str, neck: str | None) -> None:
    head, feature_map = make_head(pooling, neck), relu_map()
    u = torch.randn(3, head.dim, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((u * head.project(feature_map)).sum(), feature_map)
    alpha = head.pullback(u) * head.pooling_slope(feature_map)
    torch.testing.assert_close(alpha, gradient.mean(dim=(2, 3)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [1.0, 3.0, 12.0])
def test_gem_slope_respects_the_clamp(p: float) -> None:
    head = make_head("gem", None, p)
    values = torch.tensor([0.0, GEM_EPS / 2, GEM_EPS, 2 * GEM_EPS, -1.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    for feature_map in (values.view(1, 1, 2, 4), torch.zeros(1, 1, 2, 4, dtype=torch.float64)):
        whole = feature_map.repeat(1, CHANNELS, 1, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(head.pool(whole).sum(), whole)
        torch.testing.assert_close(head.pooling_slope(whole), gradient.mean((2, 3)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e8])
def test_gem_in_float32_neither_overflows_nor_vanishes(scale: float) -> None:
    head = PooledHead(CHANNELS, "gem")
    feature_map = torch.rand(2, CHANNELS, 3, 3) + 0.1
    torch.testing.assert_close(head.pool(feature_map * scale), head.pool(feature_map) * scale)
    torch.testing.assert_close(head.pooling_slope(feature_map * scale), head.pooling_slope(feature_map))


def test_pooling_the_slow_way() -> None:
    feature_map = relu_map().detach()
    for b, c in itertools.product(range(3), range(CHANNELS)):
        cells = feature_map[b, c].flatten().tolist()
        average, largest = sum(cells) / len(cells), max(cells)
        gem = (sum(max(cell, GEM_EPS) ** 2.7 for cell in cells) / len(cells)) ** (1 / 2.7)
        expected = {"avg": average, "max": largest, "avg+max": average + largest, "gem": gem}
        for pooling, value in expected.items():
            assert make_head(pooling, None).pool(feature_map)[b, c].item() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("pooling", "neck"), HEADS)
def test_gradients_reach_map_and_parameters(pooling: str, neck: str | None) -> None:
    head = make_head(pooling, neck)
    feature_map = (torch.rand(2, CHANNELS, 2, 3, dtype=torch.float64) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(head, feature_map)
    assert torch.autograd.gradcheck(head.pooling_slope, feature_map)  # mining differentiates the attention
    head(feature_map)[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_vectors_have_unit_norm_and_zeros_stay_zeros() -> None:
    head = make_head("avg", None)
    vectors = head(torch.stack([relu_map().detach()[1], torch.zeros(CHANNELS, 4, 5, dtype=torch.float64)]))
    assert vectors[0].norm().item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(vectors[1], torch.zeros(CHANNELS, dtype=torch.float64))


def test_gem_starts_at_three() -> None:
    p = PooledHead(CHANNELS, "gem").p
    assert p is not None
    assert p.item() == 3
    assert p.requires_grad


def test_no_closed_form_while_batch_norm_trains() -> None:
    head = make_head("avg", "bn").train()
    assert not head.has_closed_form
    with pytest.raises(ConfigError, match=r"head\.eval\(\)"):
        head.pullback(torch.ones(2, CHANNELS, dtype=torch.float64))
    assert head.eval().has_closed_form
    assert make_head("avg", "linear").train().has_closed_form


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "mean"}, "unknown pooling 'mean': choose avg, max"),
        ({"neck": "mlp"}, "unknown neck 'mlp': choose none, linear"),
        ({"dim": 3}, "not 3: use neck linear"),
        ({"neck": "linear", "dim": 0}, "not 0"),
    ],
)
def test_impossible_heads(options: dict[str, str | int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PooledHead(CHANNELS, **options)  # type: ignore[arg-type]


def test_wrong_shapes() -> None:
    head = PooledHead(CHANNELS)
    with pytest.raises(ShapeError, match=r"\(B, 6, h, w\), got \(2, 5, 3, 3\)"):
        head(torch.zeros(2, 5, 3, 3))
    with pytest.raises(ShapeError, match=r"\(B, 6\), got \(6,\)"):
        head.pullback(torch.zeros(6))
