"""Similarity mining against loops written slowly, finite differences, and properties that must hold."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.embedding import Embedder
from tests.train_embed.batches import SIZE, pictures, tiny_embedder, unit
from train_embed import mining
from train_embed.mining import TUPLE_SIZES, MiningOptions

KINDS: list[mining.TupleKind] = ["pair", "triplet", "quadruplet"]
TUPLES = {
    "pair": torch.tensor([[0, 1], [2, 3]]),
    "triplet": torch.tensor([[0, 1, 2], [3, 2, 1]]),
    "quadruplet": torch.tensor([[0, 1, 2, 4], [3, 2, 1, 4]]),
}
PULLS = {"pair": [(0, 1)], "triplet": [(0, 1, 2)], "quadruplet": [(0, 1, 2), (0, 1, 3)]}

batches = st.lists(st.integers(0, 4), max_size=24)
kinds = st.sampled_from(KINDS)


def distance(f: Tensor, g: Tensor) -> float:
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(f, g, strict=True)))


def slow_sm(f: list[Tensor]) -> float:
    """L_sm of one tuple of erased embeddings, each (D,)."""
    if len(f) == 2:
        return -distance(*f)
    return sum(abs(distance(f[0], f[1]) - distance(f[0], n)) for n in f[2:])


def slow_erase(image: Tensor, attention: Tensor, alpha: float, beta: float) -> Tensor:
    """One image (3,H,W), one pixel at a time; bilinear with half-pixel centres, clamped at the borders."""
    h, w = attention.shape
    _, height, width = image.shape
    peak = max(float(v) for v in attention.flatten())
    scaled = [[float(attention[i, j]) / peak if peak > 0 else 0.0 for j in range(w)] for i in range(h)]
    erased = torch.zeros_like(image)
    for y, x in itertools.product(range(height), range(width)):
        sy, sx = max((y + 0.5) * h / height - 0.5, 0), max((x + 0.5) * w / width - 0.5, 0)
        i, j = min(int(sy), h - 1), min(int(sx), w - 1)
        k, m = min(i + 1, h - 1), min(j + 1, w - 1)
        v, u = sy - i, sx - j
        z = (scaled[i][j] * (1 - u) + scaled[i][m] * u) * (1 - v) + (scaled[k][j] * (1 - u) + scaled[k][m] * u) * v
        sigma = 1 / (1 + math.exp(-alpha * (z - beta)))
        for c in range(3):
            erased[c, y, x] = image[c, y, x] * (1 - sigma)
    return erased


def slow_weights(f: list[Tensor], weighting: str) -> Tensor:
    """W of one tuple, a dimension at a time, by the formulas of the paper; or by overlap with half rejection."""
    w = []
    for values in zip(*(v.tolist() for v in f), strict=True):
        a, p, *negatives = values
        if weighting == "paper":
            w.append((1 - abs(a - p)) * math.prod(abs(a - n) for n in negatives))
            continue
        shared = [math.copysign(min(abs(a), abs(g)), a) if a * g > 0 else 0.0 for g in (p, *negatives)]
        w.append(shared[0] - 0.5 * max(shared[1:], key=abs, default=0.0))
    return torch.tensor(w, dtype=torch.float64)


def slow_map(embedder: Embedder, image: Tensor, w: Tensor, through_norm: bool) -> Tensor:
    """Equation 1 of one image, by autograd through the head."""
    a = embedder.trunk(image[None]).detach().requires_grad_()
    z = embedder.head.project(a)[0]  # type: ignore[operator]
    (gradient,) = torch.autograd.grad((w * z).sum() / (z.norm() if through_norm else z.norm().detach()), a)
    return (gradient.mean((2, 3), keepdim=True) * a)[0].sum(0).relu().detach()


def slow_mining(embedder: Embedder, images: Tensor, tuples: Tensor, options: MiningOptions) -> float:
    """L_sm with no gradient, one tuple and one image at a time."""
    total = 0.0
    for row in tuples.tolist():
        f = [embedder(images[i : i + 1]).vector[0].detach() for i in row]
        w = slow_weights(f, options.weighting)
        erased = []
        for i in row:
            attention = slow_map(embedder, images[i], w, options.through_norm)
            erased.append(slow_erase(images[i], attention, options.alpha, options.beta))
        total += slow_sm([embedder(x[None]).vector[0].detach() for x in erased])
    return total / len(tuples)


@given(st.tuples(*[st.integers(1, 7)] * 4), st.floats(0.5, 30), st.floats(0, 1), st.integers(0, 999), st.booleans())
@settings(deadline=None, max_examples=50)
def test_soft_mask_is_the_slow_one(sizes: tuple[int, ...], alpha: float, beta: float, seed: int, empty: bool) -> None:
    h, w, height, width = sizes
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, height, width, dtype=torch.float64, generator=generator)
    maps = torch.rand(2, h, w, dtype=torch.float64, generator=generator) * (0 if empty else 9)
    erased = mining.soft_mask(images, maps, alpha, beta)
    for image, attention, result in zip(images, maps, erased, strict=True):
        torch.testing.assert_close(result, slow_erase(image, attention, alpha, beta))


@given(st.integers(0, 999), st.floats(1e-6, 1e6))
@settings(deadline=None)
def test_soft_mask_fades_towards_zero_and_knows_no_scale(seed: int, scale: float) -> None:
    images, maps = pictures(2, seed), torch.rand(2, 3, 4, dtype=torch.float64)
    erased = mining.soft_mask(images, maps, 10.0, 0.5)
    assert (erased.abs() <= images.abs()).all()
    assert (erased * images >= 0).all()
    torch.testing.assert_close(mining.soft_mask(images, scale * maps, 10.0, 0.5), erased)


def test_soft_mask_erases_the_peak_and_keeps_the_dark() -> None:
    maps = torch.zeros(1, SIZE, SIZE, dtype=torch.float64)
    maps[0, :, : SIZE // 2] = 3.0
    erased = mining.soft_mask(torch.ones(1, 3, SIZE, SIZE, dtype=torch.float64), maps, 100.0, 0.5)
    assert erased[..., : SIZE // 2].max() < 1e-6
    assert erased[..., SIZE // 2 :].min() > 1 - 1e-6


def test_soft_mask_has_the_gradient_of_finite_differences() -> None:
    images = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    maps = torch.rand(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, m: mining.soft_mask(x, m, 6.0, 0.4), (images, maps))


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(1, 6), st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_mining_losses_are_the_slow_ones(kind: mining.TupleKind, count: int, seed: int) -> None:
    f = [unit(count, seed=10 * seed + i) for i in range(TUPLE_SIZES[kind])]
    loss = {
        "pair": mining.pair_mining_loss,
        "triplet": mining.triplet_mining_loss,
        "quadruplet": mining.quadruplet_mining_loss,
    }[kind]
    expected = sum(slow_sm([v[t] for v in f]) for t in range(count)) / count
    assert loss(*f).item() == pytest.approx(expected)  # type: ignore[operator]
    assert mining.erased_loss(torch.cat(f), len(f)).item() == pytest.approx(expected)
    leaves = [v.clone().requires_grad_() for v in f]
    assert torch.autograd.gradcheck(loss, leaves)


def test_mining_losses_by_hand() -> None:
    e = torch.eye(3, dtype=torch.float64)
    a, b, c = e[:1], e[1:2], e[2:]
    root = math.sqrt(2)
    assert mining.pair_mining_loss(a, b).item() == pytest.approx(-root)
    assert mining.pair_mining_loss(a, a).item() == 0
    assert mining.triplet_mining_loss(a, b, c).item() == pytest.approx(0)
    assert mining.triplet_mining_loss(a, a, c).item() == pytest.approx(root)
    assert mining.triplet_mining_loss(a, c, a).item() == pytest.approx(root)
    assert mining.quadruplet_mining_loss(a, a, b, c).item() == pytest.approx(2 * root)
    assert mining.quadruplet_mining_loss(a, a, a, c).item() == pytest.approx(root)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_equal_and_missing_embeddings_have_a_finite_gradient(size: int) -> None:
    for count in (0, 2):
        f = torch.ones(size * count, 3, requires_grad=True)
        mining.erased_loss(f, size).backward()
        assert f.grad is not None
        assert torch.isfinite(f.grad).all()


@pytest.mark.parametrize("through_norm", [True, False])
@pytest.mark.parametrize("weighting", ["paper", "overlap"])
@pytest.mark.parametrize("kind", KINDS)
def test_mining_is_the_slow_one(kind: mining.TupleKind, weighting: str, through_norm: bool) -> None:
    embedder, images, tuples = tiny_embedder("gem"), pictures(5), TUPLES[kind]
    options = MiningOptions(kind, alpha=6.0, beta=0.4, weighting=weighting, through_norm=through_norm)  # type: ignore[arg-type]
    expected = slow_mining(embedder, images, tuples, options)
    for detach in (True, False):
        chosen = replace(options, detach_maps=detach, detach_weights=detach)
        value = mining.mining_loss(embedder, images, embedder(images), tuples, chosen)
        assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize(("detach_maps", "detach_weights"), [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("kind", KINDS)
def test_mining_gradient_is_that_of_finite_differences(
    kind: mining.TupleKind, detach_maps: bool, detach_weights: bool
) -> None:
    """Of every parameter along a random direction; what is detached is held where it was."""
    embedder, images, tuples = tiny_embedder(), pictures(5), TUPLES[kind]
    options = MiningOptions(kind, detach_maps=detach_maps, detach_weights=detach_weights)
    parameters = [*embedder.parameters()]
    emb = embedder(images)
    mining.mining_loss(embedder, images, emb, tuples, options).backward()
    f = emb.vector.detach()
    held_w = torch.stack([slow_weights([f[i] for i in row], "paper") for row in tuples.tolist()])
    held_maps = mining.tuple_attention(embedder, emb, tuples, options).detach()
    directions = [torch.randn_like(p) for p in parameters]

    def value() -> float:
        if detach_maps:
            rows = tuples.t().reshape(-1)
            erased = mining.soft_mask(images[rows], held_maps, options.alpha, options.beta)
            return mining.erased_loss(embedder(erased).vector, tuples.shape[1]).item()
        if not detach_weights:
            return mining.mining_loss(embedder, images, embedder(images), tuples, options).item()
        return loss_with_weights(embedder, images, tuples, held_w, options)

    step, sides = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=sign * step)
            sides.append(value())
            for p, d in zip(parameters, directions, strict=True):
                p.sub_(d, alpha=sign * step)
    slope = sum((p.grad * d).sum().item() for p, d in zip(parameters, directions, strict=True) if p.grad is not None)
    assert abs(slope) > 1e-4
    assert slope == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-4)


def loss_with_weights(embedder: Embedder, images: Tensor, tuples: Tensor, w: Tensor, options: MiningOptions) -> float:
    """L_sm with given weight vectors (T,D)."""
    total = 0.0
    for row, own in zip(tuples.tolist(), w, strict=True):
        with torch.enable_grad():
            maps = torch.stack([slow_map(embedder, images[i], own, options.through_norm) for i in row])
        erased = mining.soft_mask(images[row], maps, options.alpha, options.beta)
        total += slow_sm([*embedder(erased).vector.detach()])
    return total / len(tuples)


def test_detached_maps_leave_the_first_pass_alone() -> None:
    embedder, images = tiny_embedder(), pictures(5)
    for detach in (True, False):
        emb = embedder(images)
        emb.feature_map.retain_grad()
        options = MiningOptions("triplet", detach_maps=detach)
        mining.mining_loss(embedder, images, emb, TUPLES["triplet"], options).backward()
        assert (emb.feature_map.grad is None) == detach


@pytest.mark.parametrize("neck", ["bn", "linear+bn"])
def test_a_training_batch_norm_in_the_head_is_left_as_it_was(neck: str) -> None:
    embedder, images = tiny_embedder(neck=neck).train(), pictures(5)
    emb = embedder(images)
    before = embedder.head.bn.running_mean.clone()  # type: ignore[union-attr, operator]
    options = MiningOptions("triplet")
    maps = mining.tuple_attention(embedder, emb, TUPLES["triplet"], options)
    assert maps.requires_grad
    assert embedder.head.bn.training  # type: ignore[union-attr]
    assert torch.equal(embedder.head.bn.running_mean, before)  # type: ignore[union-attr, arg-type]
    mining.mining_loss(embedder, images, emb, TUPLES["triplet"], options).backward()


def test_no_tuples_cost_nothing() -> None:
    embedder, images = tiny_embedder(), pictures(2)
    emb = embedder(images)
    loss = mining.mining_loss(embedder, images, emb, torch.zeros(0, 3, dtype=torch.int64), MiningOptions())
    loss.backward()
    assert loss.item() == 0
    none = mining.erased_similarities(embedder, images, torch.zeros(0, 3, dtype=torch.int64))
    assert math.isnan(mining.similarity_survival(none[:, 0]))


def test_gradient_steps_on_a_pair_make_its_erased_images_differ() -> None:
    """L_sm does what it says: less similarity survives erasing."""
    embedder, images, tuples = tiny_embedder(smooth=False), pictures(4), TUPLES["pair"]
    options = MiningOptions("pair")
    before = mining.similarity_survival(mining.erased_similarities(embedder, images, tuples, options)[:, 0])
    optimizer = torch.optim.SGD(embedder.parameters(), lr=0.05)
    for _ in range(15):
        emb = embedder(images)
        together = (emb.vector[tuples[:, 0]] - emb.vector[tuples[:, 1]]).square().sum(1).mean()
        loss = together + 0.5 * mining.mining_loss(embedder, images, emb, tuples, options)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert mining.similarity_survival(mining.erased_similarities(embedder, images, tuples, options)[:, 0]) < before


def test_survival_is_the_slow_one() -> None:
    embedder, images, options = tiny_embedder(), pictures(5), MiningOptions("triplet")
    tuples = TUPLES["triplet"]
    expected = []
    for row in tuples.tolist():
        f = [embedder(images[i : i + 1]).vector[0].detach() for i in row]
        w = slow_weights(f, "paper")
        g = [
            embedder(slow_erase(images[i], slow_map(embedder, images[i], w, True), 10.0, 0.5)[None]).vector[0].detach()
            for i in row[:2]
        ]
        expected.append([float(f[0] @ f[1]), float(g[0] @ g[1])])
    similarities = mining.erased_similarities(embedder, images, tuples, options)[:, 0]
    torch.testing.assert_close(similarities, torch.tensor(expected, dtype=torch.float64))
    share = sum(e[1] for e in expected) / sum(e[0] for e in expected)
    assert mining.similarity_survival(similarities) == pytest.approx(share)


def test_survival_by_hand() -> None:
    assert mining.similarity_survival(torch.tensor([[0.8, 0.4], [0.4, 0.2]])) == pytest.approx(0.5)
    assert mining.similarity_survival(torch.tensor([[0.8, 0.0], [0.2, -0.5]])) == pytest.approx(-0.5)
    assert mining.similarity_survival(torch.tensor([[0.5, 0.5], [0.0, 0.1]])) == pytest.approx(1.2)
    assert math.isnan(mining.similarity_survival(torch.tensor([[-0.1, 0.4]])))


@given(batches, kinds, st.integers(0, 99), st.integers(0, 99))
@settings(deadline=None, max_examples=200)
def test_tuples_are_of_the_right_classes(labels: list[int], kind: mining.TupleKind, seed: int, step: int) -> None:
    y, size = torch.tensor(labels, dtype=torch.int64), TUPLE_SIZES[kind]
    tuples = mining.mining_tuples(y, kind, seed, step)
    assert tuples.dtype == torch.int64
    assert tuples.shape[1] == size
    assert torch.equal(tuples, mining.mining_tuples(y, kind, seed, step))
    for row in tuples.tolist():
        classes = [labels[i] for i in row]
        assert len(set(row)) == size
        assert classes[0] == classes[1]
        assert len(set(classes)) == size - 1
    pairs = sum(n // 2 for n in Counter(labels).values())
    enough = len(set(labels)) >= size - 1
    assert len(tuples) == (min(pairs, len(labels) // size) if enough else 0)
    anchors = tuples[:, :2].flatten().tolist()
    assert len(set(anchors)) == len(anchors)


@pytest.mark.parametrize(("p", "k"), [(8, 4), (16, 2), (4, 8)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pk_batch_is_used_about_once(kind: mining.TupleKind, p: int, k: int) -> None:
    labels = torch.arange(p).repeat_interleave(k)
    for step in range(20):
        tuples = mining.mining_tuples(labels, kind, 0, step)
        size = TUPLE_SIZES[kind]
        assert len(tuples) == p * k // size
        assert len(tuples.unique()) >= 0.8 * p * k


def test_steps_and_seeds_give_other_tuples() -> None:
    labels = torch.arange(8).repeat_interleave(4)
    drawn = {str(mining.mining_tuples(labels, "pair", s, t).tolist()) for s, t in [(0, 0), (0, 1), (1, 0), (1, 1)]}
    assert len(drawn) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_shards_are_what_the_ranks_draw(kind: mining.TupleKind) -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 4, 5, 6, 6, 7, 7])
    whole = mining.mining_tuples(labels, kind, 3, 4, shards=2)
    parts = [mining.mining_tuples(labels[s], kind, 3, 4) + s.start for s in (slice(0, 8), slice(8, 16))]
    assert torch.equal(whole, torch.cat(parts))


def test_bad_input_is_named() -> None:
    labels = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(ConfigError, match="unknown kind of tuple 'trio'"):
        mining.mining_tuples(labels, "trio", 0, 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch of 5 images does not fall into 2"):
        mining.mining_tuples(labels, "pair", 0, 0, shards=2)
    with pytest.raises(ShapeError, match=r"labels \(B,\)"):
        mining.mining_tuples(labels[None], "pair", 0, 0)
    for wrong in ({"kind": "trio"}, {"weighting": "mine"}, {"alpha": 0.0}, {"alpha": math.nan}, {"beta": 1.5}):
        with pytest.raises(ConfigError):
            MiningOptions(**wrong)  # type: ignore[arg-type]
    embedder, images = tiny_embedder(), pictures(4)
    with pytest.raises(ShapeError, match=r"pair tuples of shape \(T,2\), got \(2, 3\)"):
        mining.mining_loss(embedder, images, embedder(images), TUPLES["triplet"], MiningOptions("pair"))
    with pytest.raises(ShapeError, match=r"maps \(B,h,w\)"):
        mining.soft_mask(images, torch.zeros(3, 2, 2), 1.0, 0.5)
    with pytest.raises(ShapeError, match="one shape"):
        mining.pair_mining_loss(unit(2), unit(3))
    with pytest.raises(ShapeError, match=r"\(T,2\)"):
        mining.similarity_survival(torch.zeros(2))
