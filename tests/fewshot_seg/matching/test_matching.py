"""The matcher and its episodes: a slow rewriting, what is known is used, and what must change nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewshot_seg.attention.evidence import class_evidence, contributions
from fewshot_seg.errors import CheckpointError, ShapeError
from fewshot_seg.matching.correspondence import join, keys_of, unit
from fewshot_seg.matching.matcher import EVIDENCE, KINDS_EVIDENCE, Matcher, MatcherSpec
from fewshot_seg.matching.rounds import (
    TEMPERATURE,
    Prior,
    View,
    _mean_of_shots,
    common,
    decide_with,
    match,
    negative_keys,
    shared_kinds,
    shown_by,
)

C, L, KINDS, H, W = 5, 7, 3, 6, 8
SPEC = MatcherSpec(
    "timm/tiny", {"fine": 3, "grid": 4, "coarse": 2}, "grid", C, objects=6, vectors=4, hidden=5, kinds=KINDS
)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    torch.manual_seed(0)
    return Matcher(SPEC).double().eval()


@pytest.fixture(scope="module")
def classifier() -> Tensor:
    return torch.randn(L, C, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def layers(count: int, seed: int) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(seed)
    sizes = {"fine": (3, 2 * H, 2 * W), "grid": (4, H, W), "coarse": (2, H // 2, W // 2)}
    return {name: torch.randn(count, *size, generator=made, dtype=torch.float64) for name, size in sizes.items()}


def view(matcher: Matcher, count: int, seed: int) -> View:
    made = torch.Generator().manual_seed(seed)
    feature_map = torch.rand(count, C, H // 2, W // 2, generator=made, dtype=torch.float64)
    return View(feature_map, matcher.encode(matcher.stack(layers(count, seed))))


def square(count: int) -> Tensor:
    mask = torch.zeros(count, H, W, dtype=torch.float64)
    mask[:, 1:4, 2:6] = 1
    return mask


def test_the_stack_is_every_layer_on_the_grid(matcher: Matcher) -> None:
    given_layers = layers(2, 0)
    stacked = matcher.stack(given_layers)
    assert stacked.shape == (2, 9, H, W)
    for y, x in ((0, 0), (2, 5), (H - 1, W - 1)):
        mean = given_layers["fine"][:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((2, 3))
        assert torch.allclose(stacked[:, :3, y, x], mean)
    assert torch.equal(stacked[:, 3:7], given_layers["grid"])
    with pytest.raises(ShapeError, match="reads 2 channels of 'coarse'"):
        matcher.stack({name: one for name, one in given_layers.items() if name != "coarse"})


@settings(max_examples=10, deadline=None)
@given(b=st.integers(1, 2), k=st.integers(1, 3), rounds=st.integers(1, 2), prior=st.booleans())
def test_every_round_has_logits_of_query_and_shots(b: int, k: int, rounds: int, prior: bool) -> None:
    torch.manual_seed(0)
    network, weights = Matcher(SPEC).double().eval(), torch.randn(L, C, dtype=torch.float64)
    query_prior = Prior(square(b * k), torch.ones(b * k, H, W, dtype=torch.float64)) if prior else None
    found = match(network, weights, view(network, b, 1), view(network, b * k, 2), query_prior, None, rounds)
    assert len(found) == rounds
    for one in found:
        assert one.query.shape == (b, H, W)
        assert one.shots.shape == (b, k, H, W)
        assert torch.isfinite(one.query).all()


def test_order_of_shots_changes_nothing(matcher: Matcher, classifier: Tensor) -> None:
    query, shots, order = view(matcher, 1, 1), view(matcher, 3, 2), torch.tensor([2, 0, 1])
    query_prior = Prior(square(3), torch.tensor([1.0, 0, 0], dtype=torch.float64)[:, None, None].expand(3, H, W))
    turned = Prior(query_prior.foreground[order], query_prior.where[order])
    one = match(matcher, classifier, query, shots, query_prior)[-1]
    other = match(matcher, classifier, query, shots.pick(order), turned)[-1]
    assert torch.allclose(one.query, other.query, atol=1e-6)
    assert torch.allclose(one.shots[:, order], other.shots, atol=1e-6)


def test_a_batch_is_its_episodes_one_by_one(matcher: Matcher, classifier: Tensor) -> None:
    query, shots = view(matcher, 2, 1), view(matcher, 4, 2)
    together = match(matcher, classifier, query, shots)[-1].query
    for i in range(2):
        alone = match(matcher, classifier, query.pick(slice(i, i + 1)), shots.pick(slice(2 * i, 2 * i + 2)))[-1]
        assert torch.allclose(together[i], alone.query[0], atol=1e-9)


def test_a_known_mask_is_what_the_query_is_decided_by(matcher: Matcher, classifier: Tensor) -> None:
    query, shots, mask = view(matcher, 1, 1), view(matcher, 2, 2), square(2)
    prior = Prior(mask, torch.ones_like(mask))
    query_prior = match(matcher, classifier, query, shots, prior)[-1].query
    assert torch.allclose(query_prior, decide_with(matcher, classifier, query, shots, mask), atol=1e-9)
    assert not torch.allclose(query_prior, match(matcher, classifier, query, shots)[-1].query, atol=1e-4)
    nothing = Prior(mask, torch.zeros_like(mask))
    unknown = match(matcher, classifier, query, shots, nothing)[-1].query
    silent = match(matcher, classifier, query, shots)[-1].query
    assert (unknown - silent).abs().max() < (query_prior - silent).abs().max()  # silent keys have a floor, no more


def test_what_is_known_of_the_query_moves_it(matcher: Matcher, classifier: Tensor) -> None:
    query, shots = view(matcher, 1, 1), view(matcher, 1, 2)
    query_prior = match(matcher, classifier, query, shots, None, Prior(square(1), torch.ones_like(square(1))))[-1].query
    assert not torch.allclose(query_prior, match(matcher, classifier, query, shots)[-1].query, atol=1e-4)


def test_a_query_is_decided_by_one_rounds_steps(matcher: Matcher, classifier: Tensor) -> None:
    """One query with one shot of known mask, written out."""
    query, shots, mask = view(matcher, 1, 1), view(matcher, 1, 2), square(1)
    shown = torch.zeros(1, C + KINDS, dtype=torch.float64)
    total = torch.tensor(1e-4, dtype=torch.float64)
    for y in range(H // 2):
        for x in range(W // 2):
            weight = mask[0, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()
            shown[0, :C] += weight * shots.feature_map[0, :, y, x]
            total = total + weight
    shown = shown / total
    shown[0, C:] = (shots.encoded.kinds[0] * mask[0]).sum((1, 2)) / (mask[0].sum() + 1e-4)
    assert torch.allclose(shown_by(shots, mask), shown)
    evidence = common(query, shown, classifier)
    assert evidence.shape == (1, EVIDENCE + KINDS_EVIDENCE, H, W)
    own = query.feature_map.mean((2, 3))
    raw = (
        contributions(query.feature_map, unit(own), unit(shown[:, :C])),
        class_evidence(query.feature_map, classifier, own, shown[:, :C], TEMPERATURE),
    )
    for place, (part, scale) in enumerate(zip(raw, (0.3, 0.1), strict=True)):
        spread = (part - part.min()) / (part.max() - part.min() + 1e-6)
        for at, expected in ((place, spread), (place + 2, part * scale)):
            large = nn.functional.interpolate(expected[None], (H, W), mode="bilinear", align_corners=False)[0]
            assert torch.allclose(evidence[:, at], large)
    assert torch.equal(evidence[:, EVIDENCE:], shared_kinds(query.encoded.kinds, shown[:, C:]))
    expected = matcher.decide(query.encoded, evidence, keys_of(shots.encoded.vectors, mask))
    assert torch.allclose(decide_with(matcher, classifier, query, shots, mask), expected)


def test_shared_kinds_written_out() -> None:
    made = torch.Generator().manual_seed(0)
    kinds = torch.rand(2, KINDS, H, W, generator=made, dtype=torch.float64) / KINDS
    shown = torch.rand(2, KINDS, generator=made, dtype=torch.float64) / KINDS
    found = shared_kinds(kinds, shown)
    for b in range(2):
        shares = [float(shown[b, k] * kinds[b, k].mean()) for k in range(KINDS)]
        for y, x in ((0, 0), (3, 5)):
            here = [float(kinds[b, k, y, x]) for k in range(KINDS)]
            both = sum(share * value for share, value in zip(shares, here, strict=True)) / (sum(shares) + 2e-3)
            there = sum(value * float(shown[b, k]) / (float(shown[b, k]) + 0.05) for k, value in enumerate(here))
            assert found[b, :, y, x].tolist() == pytest.approx([both, there, sum(here) - there])


def test_what_no_kind_explains_has_no_evidence_of_kinds() -> None:
    kinds = torch.zeros(1, KINDS, H, W)
    assert not shared_kinds(kinds, torch.full((1, KINDS), 0.3)).any()
    assert not shared_kinds(kinds + 0.2, torch.zeros(1, KINDS))[:, :2].any()


def test_a_matcher_without_kinds_still_matches(classifier: Tensor) -> None:
    torch.manual_seed(0)
    older = Matcher(MatcherSpec.from_dict({k: v for k, v in SPEC.to_dict().items() if k != "kinds"})).double().eval()
    query, shots = view(older, 1, 1), view(older, 2, 2)
    assert query.encoded.kinds.shape == (1, 0, H, W)
    assert shown_by(shots, square(2)).shape == (2, C)
    assert match(older, classifier, query, shots)[-1].query.isfinite().all()


def test_kinds_are_probabilities_and_move_the_decision(matcher: Matcher, classifier: Tensor) -> None:
    query, shots = view(matcher, 1, 1), view(matcher, 1, 2)
    assert query.encoded.kinds.min() >= 0
    assert query.encoded.kinds.sum(1).max() <= 1 + 1e-9
    forgotten = [one._replace(encoded=one.encoded._replace(kinds=one.encoded.kinds * 0)) for one in (query, shots)]
    query_prior, silent = (match(matcher, classifier, *pair)[-1].query for pair in ((query, shots), forgotten))
    assert not torch.allclose(query_prior, silent, atol=1e-4)


def test_rivals_are_background_alone_and_change_the_query(matcher: Matcher, classifier: Tensor) -> None:
    query, shots, others = view(matcher, 1, 1), view(matcher, 1, 2), view(matcher, 2, 3)
    keys = negative_keys(others, square(2))
    separate = [keys_of(others.pick(slice(i, i + 1)).encoded.vectors, square(1)) for i in range(2)]
    assert torch.equal(keys.vectors, join(*separate).vectors)
    assert torch.equal(keys.background, join(*separate).foreground)
    assert not keys.foreground.any()
    soft = square(1)
    with_, without = (decide_with(matcher, classifier, query, shots, soft, more) for more in ([keys], []))
    assert not torch.allclose(with_, without, atol=1e-4)


def test_gradients_reach_every_weight_that_decides(classifier: Tensor) -> None:
    torch.manual_seed(0)
    network = Matcher(SPEC).double().eval()
    torch.autograd.backward(
        match(network, classifier, view(network, 1, 1), view(network, 2, 2))[-1].query.square().sum()
    )
    for name, parameter in network.named_parameters():
        if not name.startswith(("presence", "kinds")):  # one decides of the whole image; the other has its own loss
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


def test_a_spec_reads_what_it_wrote_and_says_what_is_wrong() -> None:
    assert MatcherSpec.from_dict(SPEC.to_dict()) == SPEC
    for bad in ({}, SPEC.to_dict() | {"layers": 3}, SPEC.to_dict() | {"hidden": "many"}):
        with pytest.raises(CheckpointError, match="no matcher's description"):
            MatcherSpec.from_dict(bad)


def test_kinds_that_one_of_several_images_shows_alone_count_for_little() -> None:
    shown = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))  # three shots of two episodes: C 2, L 3
    found = _mean_of_shots(shown, 3, 2)
    for i in range(2):
        for j in range(5):
            values = [float(shown[3 * i + s, j]) for s in range(3)]
            expected = sum(values) / 3 if j < 2 else (sum(value**0.25 for value in values) / 3) ** 4
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(_mean_of_shots(shown, 1, 2), shown), "one shot is what it is"
