"""Attention's variants by name against slow loops and autograd; class evidence and contributions, too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from fewshot_seg import attention
from fewshot_seg.attention.evidence import class_evidence, class_shares, contributions
from fewshot_seg.attention.maps import Shots, shots_of, similarity_maps
from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.embedding import Embedding
from fewshot_seg.network.heads import PooledHead

B, C, D, L = 2, 5, 4, 6


def embedder(neck: str | None = None, classes: int = L) -> Any:
    torch.manual_seed(3)
    head = PooledHead(C, "avg", neck, D if neck else None).double().eval().requires_grad_(False)
    classifier = nn.Linear(C, classes).double().requires_grad_(False) if classes else None
    return SimpleNamespace(head=head, classifier=classifier)


def embed(model: Any, count: int, seed: int) -> Embedding:
    made = torch.Generator().manual_seed(seed)
    feature_map = torch.rand(count, C, 3, 4, generator=made, dtype=torch.float64)
    return Embedding(feature_map, model.head(feature_map))


def shots(model: Any, count: int, seed: int) -> Shots:
    return shots_of(model, embed(model, count, seed))


@pytest.mark.parametrize("neck", [None, "linear"])
@pytest.mark.parametrize("others", [0, 1, 2])
def test_grad_cam_is_the_gradient_of_the_margin_of_cosines(neck: str | None, others: int) -> None:
    model = embedder(neck)
    emb, positives = embed(model, B, 1), shots(model, 3, 2)
    negatives = [shots(model, 2, 3 + i) for i in range(others)]
    found = similarity_maps(model, emb, positives, negatives, "grad-cam", rejection=0.7)
    for i in range(B):
        a = emb.feature_map[i : i + 1].clone().requires_grad_()
        f = model.head(a)[0]
        margin = sum(f @ g for g in positives.vectors) / 3
        if negatives:
            margin = margin - 0.7 * torch.stack([(group.vectors @ f).mean() for group in negatives]).max()
        (gradient,) = torch.autograd.grad(margin, a)
        alpha = gradient.mean((2, 3))[0]
        slow = sum(alpha[k] * a[0, k] for k in range(C))
        assert isinstance(slow, Tensor)
        assert torch.allclose(found[i], slow.relu(), atol=1e-12)


def slow_weights(variant: str, f: Tensor, positives: Tensor, negatives: list[Tensor], rejection: float) -> Tensor:
    """One image's w (D,), one dimension at a time."""

    def agreement(x: float, y: float) -> float:
        if x * y <= 0:
            return 0.0
        size = min(abs(x), abs(y)) if variant == "overlap" else abs(x * y)
        return size if x > 0 else -size

    w = []
    for d in range(len(f)):
        own = sum(agreement(float(f[d]), float(g[d])) for g in positives) / len(positives)
        others = [sum(agreement(float(f[d]), float(g[d])) for g in group) / len(group) for group in negatives]
        w.append(own - rejection * max(others, key=abs, default=0.0))
    return torch.tensor(w, dtype=torch.float64)


@pytest.mark.parametrize("variant", ["overlap", "contributions"])
@pytest.mark.parametrize("others", [0, 1, 2])
def test_agreements_with_negatives_against_a_loop(variant: Any, others: int) -> None:
    model = embedder("linear")  # signed embeddings
    emb, positives = embed(model, B, 1), shots(model, 3, 2)
    negatives = [shots(model, 2, 3 + i) for i in range(others)]
    found = similarity_maps(model, emb, positives, negatives, variant, rejection=0.4)
    for i in range(B):
        w = slow_weights(variant, emb.vector[i], positives.vectors, [group.vectors for group in negatives], 0.4)
        a = emb.feature_map[i : i + 1].clone().requires_grad_()
        z = model.head.project(a)[0]
        (gradient,) = torch.autograd.grad((w * z).sum() / z.norm().detach(), a)
        slow = torch.einsum("c,chw->hw", gradient.mean((2, 3))[0], a[0].detach()).relu()
        assert torch.allclose(found[i], slow, atol=1e-12)


def test_contributions_without_a_neck_are_those_of_evidence_but_for_a_factor() -> None:
    model = embedder()
    emb, positives = embed(model, B, 1), shots(model, 1, 2)
    found = similarity_maps(model, emb, positives, variant="contributions")
    plain = contributions(emb.feature_map, emb.vector, positives.vectors.expand(B, -1))
    ratio = found / plain
    assert torch.allclose(ratio, ratio.amax((1, 2), keepdim=True).expand_as(ratio))
    slow = [
        [
            sum(emb.vector[0, k] * positives.vectors[0, k] * emb.feature_map[0, k, y, x] for k in range(C))
            for x in (0, 3)
        ]
        for y in (0, 2)
    ]
    assert torch.allclose(plain[0][::2, ::3], torch.tensor(slow, dtype=torch.float64))


@pytest.mark.parametrize("others", [0, 1, 2])
def test_class_evidence_against_a_loop(others: int) -> None:
    model = embedder()
    emb, positives = embed(model, B, 1), shots(model, 3, 2)
    negatives = [shots(model, 2, 3 + i) for i in range(others)]
    found = similarity_maps(model, emb, positives, negatives, "class-evidence", rejection=0.3)
    weight, t = model.classifier.weight, attention.maps.EVIDENCE_TEMPERATURE
    for i in range(B):
        p = torch.softmax(weight @ emb.feature_map[i].mean((1, 2)) / t, 0)

        def shares(group: Shots, p: Tensor = p) -> list[float]:
            q = torch.softmax(weight @ group.means.mean(0) / t, 0)
            return [float(p[c] * q[c] / (p * q).sum()) for c in range(L)]

        others = [shares(group) for group in negatives]
        slow = torch.zeros(3, 4, dtype=torch.float64)
        for c, share in enumerate(shares(positives)):
            chosen = share - 0.3 * max((other[c] for other in others), default=0.0)
            slow += chosen * sum(weight[c, k] * emb.feature_map[i, k] for k in range(C))
        assert torch.allclose(found[i], slow.relu(), atol=1e-12)


def test_class_evidence_is_the_evidence_of_shares_that_add_up_to_one() -> None:
    model = embedder()
    emb, others = embed(model, B, 1), embed(model, B, 2)
    own, shown = emb.feature_map.mean((2, 3)), others.feature_map.mean((2, 3))
    shares = class_shares(model.classifier.weight, own, shown, 2.0)
    assert torch.allclose(shares.sum(1), torch.ones(B, dtype=torch.float64))
    assert torch.allclose(shares, class_shares(model.classifier.weight, shown, own, 2.0))
    plain = class_evidence(emb.feature_map, model.classifier.weight, own, shown, 2.0)
    for i in range(B):
        found = similarity_maps(
            model, emb, shots_of(model, Embedding(*(t[i : i + 1] for t in others))), (), "class-evidence"
        )
        assert torch.allclose(found[i], plain[i].relu())


@pytest.mark.parametrize("variant", get_args(attention.Variant))
def test_order_of_shots_and_of_classes_changes_nothing(variant: Any) -> None:
    model = embedder("linear")
    emb, order = embed(model, B, 1), torch.tensor([2, 0, 1])
    positives, negatives = shots(model, 3, 2), [shots(model, 3, 3), shots(model, 2, 4)]
    turned = Shots(*(part[order] for part in positives))
    one = similarity_maps(model, emb, positives, negatives, variant)
    assert one.shape == (B, 3, 4)
    assert one.min() >= 0
    assert torch.allclose(one, similarity_maps(model, emb, turned, negatives[::-1], variant), atol=1e-12)
    each = Shots(*(part.expand(B, *part.shape) for part in positives))  # the same shots, said for each image
    assert torch.allclose(one, similarity_maps(model, emb, each, negatives, variant), atol=1e-12)


def test_the_papers_variant_is_its_triplet_with_and_without_the_norm() -> None:
    model = embedder("linear")
    emb, positives, negatives = embed(model, B, 1), shots(model, 1, 2), shots(model, 1, 3)
    fp, fn = (group.vectors.expand(B, -1) for group in (positives, negatives))
    w = attention.triplet_weights(emb.vector, fp, fn)
    for through_norm in (None, True, False):
        found = similarity_maps(model, emb, positives, [negatives], "paper", through_norm=through_norm)
        assert torch.equal(
            found, attention.attention_maps(model, emb, w, through_norm=True if through_norm is None else through_norm)
        )


def test_shots_of_a_part_are_what_it_covers() -> None:
    model = embedder()
    emb = embed(model, 2, 1)
    cover = torch.zeros(2, 3, 4, dtype=torch.float64)
    cover[:, 1, 2] = 1
    part = shots_of(model, emb, cover)
    at = emb.feature_map[:, :, 1, 2]
    assert torch.allclose(part.means, at)
    assert torch.allclose(part.vectors, at / at.norm(dim=1, keepdim=True))
    assert torch.isfinite(shots_of(model, emb, torch.zeros_like(cover)).means).all()
    with pytest.raises(ShapeError, match="doesn't belong to maps"):
        shots_of(model, emb, cover[:1])


def test_what_cannot_be_is_said() -> None:
    model = embedder(classes=0)
    emb, positives = embed(model, B, 1), shots(model, 1, 2)
    with pytest.raises(ConfigError, match="keeps no classifier"):
        similarity_maps(model, emb, positives, (), "class-evidence")
    with pytest.raises(ConfigError, match="unknown attention 'loud'"):
        similarity_maps(model, emb, positives, (), "loud")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="don't belong together"):
        contributions(emb.feature_map, emb.vector, positives.vectors)
    with pytest.raises(ShapeError, match="expected a classifier"):
        class_evidence(emb.feature_map, torch.rand(L, C + 1), emb.vector, emb.vector)
