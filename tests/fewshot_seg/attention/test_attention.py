"""Attention against the paper's definitions, written out slowly, and against autograd through the whole head."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewshot_seg import attention
from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.embedding import Embedding
from fewshot_seg.network.heads import PooledHead

B, C, D = 3, 7, 5
POOLINGS = ["avg", "max", "avg+max", "gem"]
NECKS = [None, "linear", "bn", "linear+bn"]


def unit(*shape: int, signed: bool = True) -> Tensor:
    f = torch.randn(*shape, dtype=torch.float64)
    return nn.functional.normalize(f if signed else f.abs(), dim=-1)


def make_head(pooling: str = "avg", neck: str | None = None) -> PooledHead:
    head = PooledHead(C, pooling, neck, D if neck in ("linear", "linear+bn") else None).double()
    if head.bn is not None:
        nn.init.normal_(head.bn.weight)
        nn.init.normal_(head.bn.bias)
        head.bn.running_mean = torch.randn(head.dim, dtype=torch.float64)
        head.bn.running_var = torch.rand(head.dim, dtype=torch.float64) + 0.1
    return head.eval().requires_grad_(False)


def embed(head: nn.Module, feature_map: Tensor | None = None) -> tuple[Any, Embedding]:
    a = torch.rand(B, C, 4, 6, dtype=torch.float64) - 0.2 if feature_map is None else feature_map
    return SimpleNamespace(head=head), Embedding(a, head(a))


def tuple_weights(kind: str, embeddings: list[Embedding]) -> Tensor:
    f = [e.vector for e in embeddings]
    if kind == "pair":
        return attention.pair_weights(f[0], f[1])
    if kind == "triplet":
        return attention.triplet_weights(*f[:3])
    return attention.quadruplet_weights(*f)


def slow_map(head: PooledHead, feature_map: Tensor, w: Tensor, through_norm: bool) -> Tensor:
    """Equation 1 of one image (C,h,w), one channel and one position at a time."""
    a = feature_map.clone().requires_grad_()
    z = head.project(a[None])[0]
    norm = z.norm() if through_norm else z.norm().detach()
    score = sum(w[d] * z[d] / norm for d in range(len(z)))
    (gradient,) = torch.autograd.grad(score, a)
    channels, height, width = a.shape
    result = torch.zeros(height, width, dtype=a.dtype)
    for k in range(channels):
        alpha = sum(gradient[k, i, j] for i in range(height) for j in range(width)) / (height * width)
        for i in range(height):
            for j in range(width):
                result[i, j] += alpha * feature_map[k, i, j]
    return torch.where(result > 0, result, torch.zeros_like(result))


@pytest.mark.parametrize("through_norm", [True, False])
@pytest.mark.parametrize("kind", ["pair", "triplet", "quadruplet"])
@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_closed_form_is_autograd_for_every_image_of_a_tuple(
    pooling: str, neck: str | None, kind: str, through_norm: bool
) -> None:
    head = make_head(pooling, neck)
    tuples = [embed(head)[1] for _ in range({"pair": 2, "triplet": 3, "quadruplet": 4}[kind])]
    embedder: Any = SimpleNamespace(head=head)
    w = tuple_weights(kind, tuples)
    closed = attention.tuple_maps(embedder, tuples, w, "closed_form", through_norm)
    auto = attention.tuple_maps(embedder, tuples, w, "autograd", through_norm)
    assert len(closed) == len(tuples)
    for image, (one, other) in enumerate(zip(closed, auto, strict=True)):
        assert (one - other).abs().max() < 1e-10
        slow = slow_map(head, tuples[image].feature_map[1], w[1], through_norm)
        assert (one[1] - slow).abs().max() < 1e-10


def test_some_map_of_those_compared_is_not_zero() -> None:
    embedder, emb = embed(make_head("gem", "linear+bn"))
    for through_norm in (True, False):
        maps = attention.attention_maps(embedder, emb, emb.vector.abs(), through_norm=through_norm)
        assert maps.amax() > 0


def test_auto_takes_autograd_for_any_other_module() -> None:
    class Squares(nn.Module):
        def forward(self, feature_map: Tensor) -> Tensor:
            return nn.functional.normalize(feature_map.square().mean(dim=(2, 3)), dim=1)

    embedder, emb = embed(Squares())
    w = attention.pair_weights(emb.vector, emb.vector.flip(0))
    maps = attention.attention_maps(embedder, emb, w)
    a = emb.feature_map.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((w * embedder.head(a)).sum(), a)
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * a).sum(1).relu()
    torch.testing.assert_close(maps, expected.detach(), rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="no closed form"):
        attention.attention_maps(embedder, emb, w, method="closed_form")
    with pytest.raises(ConfigError, match="project"):
        attention.attention_maps(embedder, emb, w, through_norm=False)


@pytest.mark.parametrize("method", ["closed_form", "autograd"])
def test_maps_come_out_of_inference_mode(method: Any) -> None:
    head = make_head("avg+max", "linear+bn")
    with torch.inference_mode():
        embedder, emb = embed(head)
        w = attention.pair_weights(emb.vector, emb.vector.flip(0))
        inside = attention.attention_maps(embedder, emb, w, method)
    _, outside = embed(head, emb.feature_map.clone())
    expected = attention.attention_maps(embedder, outside, w.clone())
    torch.testing.assert_close(inside.clone(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_through_the_maps_agree(detach: bool) -> None:
    """Mining differentiates the maps: the closed form without second-order graphs, autograd with them."""
    head = make_head("avg", "linear")
    start = torch.rand(B, C, 3, 3, dtype=torch.float64)
    gradients = []
    for method in ("closed_form", "autograd"):
        a = start.clone().requires_grad_()
        embedder, emb = embed(head, a)
        w = attention.pair_weights(emb.vector, emb.vector.flip(0).detach())
        maps = attention.attention_maps(embedder, emb, w.detach() if detach else w, method)  # type: ignore[arg-type]
        gradients.append(torch.autograd.grad(maps.square().sum(), a)[0])
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-10)


def test_gradcheck_of_the_closed_form() -> None:
    head = make_head("gem", "linear")

    def maps(a: Tensor) -> Tensor:
        embedder, emb = embed(head, a)
        return attention.attention_maps(embedder, emb, emb.vector.abs())

    a = (torch.rand(2, C, 2, 2, dtype=torch.float64) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(maps, (a,))


def test_weights_are_the_papers() -> None:
    fa, fp, fn1, fn2 = (unit(B, D) for _ in range(4))
    for b in range(B):
        for d in range(D):
            a, p, n, m = (float(f[b, d]) for f in (fa, fp, fn1, fn2))
            assert float(attention.pair_weights(fa, fp)[b, d]) == pytest.approx(1 - abs(a - p))
            assert float(attention.pair_weights(fa, fp, same=False)[b, d]) == pytest.approx(abs(a - p))
            triplet = (1 - abs(a - p)) * abs(a - n)
            assert float(attention.triplet_weights(fa, fp, fn1)[b, d]) == pytest.approx(triplet)
            quadruplet = float(attention.quadruplet_weights(fa, fp, fn1, fn2)[b, d])
            assert quadruplet == pytest.approx(triplet * abs(a - m))


def test_pair_weights_take_a_mixed_batch() -> None:
    f1, f2 = unit(B, D), unit(B, D)
    same = torch.tensor([True, False, True])
    w = attention.pair_weights(f1, f2, same)
    for b in range(B):
        torch.testing.assert_close(w[b], attention.pair_weights(f1, f2, bool(same[b]))[b])


def test_shots_reduce_to_the_papers_tuples() -> None:
    fa, fp, fn1, fn2 = (unit(B, D) for _ in range(4))
    p, n1, n2 = fp[:, None], fn1[:, None], fn2[:, None]
    torch.testing.assert_close(attention.shot_weights(fa, p), attention.pair_weights(fa, fp))
    torch.testing.assert_close(attention.shot_weights(fa, p, [n1]), attention.triplet_weights(fa, fp, fn1))
    torch.testing.assert_close(attention.shot_weights(fa, p, [n1, n2]), attention.quadruplet_weights(fa, fp, fn1, fn2))


@pytest.mark.parametrize("weighting", ["paper", "overlap"])
@settings(max_examples=25, deadline=None)
@given(shots=st.integers(1, 4), others=st.lists(st.integers(1, 3), max_size=3), seed=st.integers(0, 999))
def test_many_shots_against_a_loop(weighting: Any, shots: int, others: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    fa, positives, negatives = unit(B, D), unit(shots, D), [unit(k, D) for k in others]
    w = attention.shot_weights(fa, positives, negatives, weighting=weighting, rejection=0.3)

    def overlap(f: float, g: float) -> float:
        return 0.0 if f * g <= 0 else (1 if f > 0 else -1) * min(abs(f), abs(g))

    for b in range(B):
        for d in range(D):
            a = float(fa[b, d])
            if weighting == "paper":
                expected = sum(1 - abs(a - float(p[d])) for p in positives) / shots
                for group in negatives:
                    expected *= sum(abs(a - float(n[d])) for n in group) / len(group)
            else:
                expected = sum(overlap(a, float(p[d])) for p in positives) / shots
                others = [sum(overlap(a, float(n[d])) for n in group) / len(group) for group in negatives]
                expected -= 0.3 * max(others, key=abs, default=0.0)
            assert float(w[b, d]) == pytest.approx(expected, abs=1e-12)


def test_one_call_for_many_tuples_is_many_calls() -> None:
    head = make_head("avg+max", "linear")
    tuples = [embed(head)[1] for _ in range(3)]
    embedder: Any = SimpleNamespace(head=head)
    w = tuple_weights("triplet", tuples)
    batched = attention.tuple_maps(embedder, tuples, w)
    for b in range(B):
        single = [Embedding(e.feature_map[b : b + 1], e.vector[b : b + 1]) for e in tuples]
        for whole, one in zip(batched, attention.tuple_maps(embedder, single, w[b : b + 1]), strict=True):
            torch.testing.assert_close(whole[b : b + 1], one)


def test_letter_of_equation_1_turns_away_from_what_all_share() -> None:
    """Why `through_norm` is an option: with non-negative features the gradient through the norm is inverted."""
    a = torch.full((1, 4, 2, 2), 0.1, dtype=torch.float64)
    a[0, :2, 0, 0] = 5.0  # the object: two strong channels at one position
    embedder, emb = embed(make_head_of(4), a)
    w = attention.pair_weights(emb.vector, emb.vector)
    letter = attention.attention_maps(embedder, emb, w)[0]
    constant = attention.attention_maps(embedder, emb, w, through_norm=False)[0]
    assert constant[0, 0] > constant[1, 1]
    assert letter[0, 0] < letter[1, 1]


def make_head_of(channels: int) -> PooledHead:
    return PooledHead(channels).double().eval()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(1e-6, 1e6))
def test_scaled_maps_lie_in_0_1_and_ignore_scale(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    maps = torch.rand(2, 3, 4, dtype=torch.float64)
    scaled = attention.scale_maps(maps)
    assert scaled.amin() >= 0
    torch.testing.assert_close(scaled.amax(dim=(1, 2)), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(attention.scale_maps(maps * scale), scaled)


def test_a_map_of_zeros_stays_zeros() -> None:
    head = make_head()
    embedder, emb = embed(head, torch.zeros(1, C, 2, 2, dtype=torch.float64))
    for method in ("closed_form", "autograd"):
        maps = attention.attention_maps(embedder, emb, torch.ones(1, C, dtype=torch.float64), method)  # type: ignore[arg-type]
        assert torch.equal(attention.scale_maps(maps), torch.zeros(1, 2, 2, dtype=torch.float64))


def test_shapes_are_checked() -> None:
    embedder, emb = embed(make_head())
    with pytest.raises(ShapeError, match="got"):
        attention.attention_maps(embedder, emb, emb.vector[:1])
    with pytest.raises(ShapeError, match="one shape"):
        attention.pair_weights(emb.vector, emb.vector[:1])
    with pytest.raises(ShapeError, match="bool tensor"):
        attention.pair_weights(emb.vector, emb.vector, torch.ones(B))
    with pytest.raises(ShapeError, match="K >= 1"):
        attention.shot_weights(emb.vector, emb.vector[:0])
    with pytest.raises(ShapeError, match="feature maps of one shape"):
        attention.tuple_maps(embedder, [], emb.vector)
    with pytest.raises(ConfigError, match="unknown method"):
        attention.attention_maps(embedder, emb, emb.vector, method="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown weighting"):
        attention.shot_weights(emb.vector, emb.vector, weighting="magic")  # type: ignore[arg-type]
