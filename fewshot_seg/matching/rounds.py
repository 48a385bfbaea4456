"""Matching an episode: from what is known of a query and its supports alone to where the query shows their object.

A support comes without a mask. So the supports are matched too: with the query and with each other, by the same
network, and what comes out is each support's soft foreground for the next round. What the user knows of an image
(a mask, a box, points) is put in place of the guess wherever it is known.

Shapes: B episodes, K shots, C channels of the last map, L classes of the backbone's classifier, and the
matcher's grid of h x w positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_seg.attention.evidence import class_evidence, contributions
from fewshot_seg.matching.correspondence import Keys, for_each_shot, join, keys_of, of_episodes, of_other_shots, unit
from fewshot_seg.matching.matcher import Encoded, Matcher

ROUNDS = 2
TEMPERATURE = 2.0
"""Of the softmax over the backbone's classes: what an image shows is rarely one class alone."""

_DOUBT = 0.2  # what is left of objectness where similarity speaks against it, in the first guess
_HARDLY = 2e-3  # a product of shares
_SHOWN = 0.05  # a share of the foreground from which on a kind counts as shown
_POWER = 0.25  # of the kinds' mean over several images: the plain mean was 1.6 points behind with five shots
_SCALES = (0.3, 0.1)  # bring contributions and class evidence to about 1


class View(NamedTuple):
    """What is known of each of B images before anything is compared."""

    feature_map: Tensor  # A (B,C,h0,w0), the last convolutional map, >= 0
    encoded: Encoded

    def pick(self, index: Tensor | slice) -> View:
        """The views of some of the images."""
        return View(self.feature_map[index], Encoded(*(part[index] for part in self.encoded)))


class Prior(NamedTuple):
    """What a user knows of B images."""

    foreground: Tensor  # (B,h,w) in [0, 1]
    where: Tensor  # (B,h,w) in [0, 1]: how much it counts; 0 where nothing is known


class Matched(NamedTuple):
    """An episode's outcome."""

    query: Tensor  # (B,h,w) logits
    shots: Tensor  # (B,K,h,w) logits; where the user knows, what they know


def match(
    matcher: Matcher,
    classifier: Tensor,
    query: View,
    shots: View,
    shot_prior: Prior | None = None,
    query_prior: Prior | None = None,
    rounds: int = ROUNDS,
) -> list[Matched]:
    """Logits of every round; the last is the result.

    Args:
        matcher: trained for the backbone that the views are of.
        classifier: (L,C) weights of the backbone's own last layer.
        query: B images.
        shots: B*K images, K to each query, in order.
        shot_prior: of the B*K shots.
        query_prior: of the queries.
        rounds: at least 1. Each matches the shots first, then the query.
    """
    b = len(query.feature_map)
    k = len(shots.feature_map) // b
    ahead = _guess(matcher, classifier, query, shots, k)
    softs = [with_prior(ahead[0], query_prior), with_prior(ahead[1], shot_prior)]
    outcome = []
    for _ in range(rounds):
        around = _around_shots(query, shots, softs[0], softs[1], k, shot_prior)
        shown = _partners(query, shots, softs[0], softs[1], k)
        shot_logits = matcher.decide(shots.encoded, common(shots, shown, classifier), around)
        softs[1] = with_prior(torch.sigmoid(shot_logits), shot_prior)
        query_logits = decide_with(matcher, classifier, query, shots, softs[1], query_prior=query_prior)
        softs[0] = with_prior(torch.sigmoid(query_logits), query_prior)
        outcome.append(Matched(query_logits, shot_logits.view(b, k, *shot_logits.shape[1:])))
    return outcome


def decide_with(
    matcher: Matcher,
    classifier: Tensor,
    query: View,
    shots: View,
    soft_shots: Tensor,
    others: Sequence[Keys] = (),
    query_prior: Prior | None = None,
) -> Tensor:
    """Logits (B,h,w) of queries where the shots' soft foreground is there already, and other keys beside them.

    Arguments as in `match`; soft_shots is (B*K,h,w) in [0, 1], the others are keys of other classes or other images.
    """
    b = len(query.feature_map)
    k = len(shots.feature_map) // b
    keys = join(of_episodes(keys_of(shots.encoded.vectors, soft_shots), b), *others)
    if query_prior is not None:
        keys = join(keys, keys_of(query.encoded.vectors, query_prior.foreground, query_prior.where))
    shown = _mean_of_shots(shown_by(shots, soft_shots), k, query.feature_map.shape[1])
    return matcher.decide(query.encoded, common(query, shown, classifier), keys)


def negative_keys(shots: View, soft_shots: Tensor) -> Keys:
    """Another class's foreground as background: (1, of all its shots). What else its shots show says nothing."""
    keys = of_episodes(keys_of(shots.encoded.vectors, soft_shots), 1)
    return Keys(keys.vectors, torch.zeros_like(keys.foreground), keys.foreground)


def common(view: View, shown: Tensor, classifier: Tensor) -> Tensor:
    """Similarity attention and class evidence of B images for what others show.

    Args:
        view: of B images.
        shown: (B,C+L), what the others show, from `shown_by`.
        classifier: (L',C).

    Returns:
        (B,4,h,w): contributions and class evidence, both scaled to [0, 1] for each image, then as they are; with kinds
        (B,7,h,w): `shared_kinds`, too.
    """
    own = view.feature_map.mean((2, 3))  # (B,C)
    shown, kinds = shown[:, : own.shape[1]], shown[:, own.shape[1] :]
    parts = (
        contributions(view.feature_map, unit(own), unit(shown)),
        class_evidence(view.feature_map, classifier, own, shown, TEMPERATURE),
    )  # (B,h0,w0) each
    plain = [part * scale for part, scale in zip(parts, _SCALES, strict=True)]
    maps = torch.stack([*(_spread(part) for part in parts), *plain], 1)
    size = view.encoded.objectness.shape[1:]
    maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    return maps if kinds.shape[1] == 0 else torch.cat([maps, shared_kinds(view.encoded.kinds.detach(), kinds)], 1)


def shared_kinds(kinds: Tensor, shown: Tensor) -> Tensor:
    """Where an image shows the kinds of things that others show, and where it shows further ones.

    Args:
        kinds: (B,L,h,w) probabilities, of these images.
        shown: (B,L), the others', averaged over their foreground.

    Returns:
        (B,3,h,w) in [0, 1], probabilities of: what both show, each kind weighted by the product of both images'
        shares, which add up to 1 unless hardly anything is shared; what the others show; and what they don't.
    """
    both = shown * kinds.mean((2, 3))
    both = both / (both.sum(1, keepdim=True) + _HARDLY)
    there = shown / (shown + _SHOWN)
    return torch.einsum("bsl,blhw->bshw", torch.stack([both, there, 1 - there], 1), kinds)


def shown_by(view: View, soft: Tensor) -> Tensor:
    """(B,C+L): the last map and the kinds averaged over a soft foreground (B,h,w), which is taken as a constant."""
    weight = soft.detach()[:, None]  # (B,1,h,w)
    parts = []
    for values in (view.feature_map, view.encoded.kinds.detach()):
        height, width = values.shape[2:]
        own = F.adaptive_avg_pool2d(weight, (height, width))
        parts.append((values * own).sum((2, 3)) / (own.sum((2, 3)) + 1e-4))
    return torch.cat(parts, 1)


def _guess(matcher: Matcher, classifier: Tensor, query: View, shots: View, k: int) -> tuple[Tensor, Tensor]:
    """Soft foregrounds (B,h,w) and (B*K,h,w) to begin with: objects, where similarity doesn't speak against it."""
    whole = [torch.ones_like(view.encoded.objectness) for view in (query, shots)]
    channels = query.feature_map.shape[1]
    shown = _mean_of_shots(shown_by(shots, whole[1]), k, channels), _partners(query, shots, whole[0], whole[1], k)
    guesses = []
    for view, other in zip((query, shots), shown, strict=True):
        alike = common(view, other, classifier)[:, 1]
        guesses.append(torch.sigmoid(view.encoded.objectness) * (_DOUBT + (1 - _DOUBT) * alike))
    return guesses[0], guesses[1]


def with_prior(soft: Tensor, prior: Prior | None) -> Tensor:
    """A soft foreground (B,h,w) with what is known in place of the guess."""
    return soft if prior is None else soft + prior.where * (prior.foreground - soft)


def _partners(query: View, shots: View, soft_query: Tensor, soft_shots: Tensor, k: int) -> Tensor:
    """(B*K,C+L): what the query and the other shots show, for each shot."""
    channels = query.feature_map.shape[1]
    power = _power(k)
    own = _by_episode(_kinds_to(shown_by(shots, soft_shots), power, channels), k)  # (B,K,C+L)
    others = _kinds_to(shown_by(query, soft_query), power, channels)[:, None] + own.sum(1, keepdim=True) - own
    return _kinds_to(others / k, 1 / power, channels).flatten(0, 1)


def _mean_of_shots(values: Tensor, k: int, channels: int) -> Tensor:
    """(B*K,C+L) -> (B,C+L)."""
    power = _power(k)
    return _kinds_to(_by_episode(_kinds_to(values, power, channels), k).mean(1), 1 / power, channels)


def _power(k: int) -> float:
    """That the kinds are averaged by: over one shot alone there is nothing to average."""
    return _POWER if k > 1 else 1.0


def _kinds_to(values: Tensor, power: float, channels: int) -> Tensor:
    """What is shown (...,C+L) with its kinds, those after the first C, raised to a power.

    A mean of roots is large where all are: what every image shows is meant, what one alone shows is not.
    """
    if power == 1 or values.shape[-1] == channels:
        return values
    return torch.cat([values[..., :channels], values[..., channels:].clamp(min=0) ** power], -1)


def _around_shots(
    query: View, shots: View, soft_query: Tensor, soft_shots: Tensor, k: int, prior: Prior | None
) -> Keys:
    """For each of B*K shots the keys of its query, of the other shots, and of what is known of itself."""
    asked = for_each_shot(keys_of(query.encoded.vectors, soft_query), k)
    parts = [asked, *of_other_shots(keys_of(shots.encoded.vectors, soft_shots), k)]
    if prior is not None:
        parts.append(keys_of(shots.encoded.vectors, prior.foreground, prior.where))
    return join(*parts)


def _by_episode(values: Tensor, k: int) -> Tensor:
    """(B*K,...) -> (B,K,...)."""
    return values.view(-1, k, *values.shape[1:])


def _spread(maps: Tensor) -> Tensor:
    """Each map (B,h,w) stretched to [0, 1]."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low + 1e-6)
