"""Matching by the trained matcher, and one decision over all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fewshot_seg.matching.correspondence import Keys, join
from fewshot_seg.matching.features import LAST, Features
from fewshot_seg.matching.locators import EncodedQuery, Example, Located, prior_of, to_numpy
from fewshot_seg.matching.matcher import Encoded, Matcher
from fewshot_seg.matching.rounds import Matched, Prior, View, decide_with, match, negative_keys, with_prior


class Shots(NamedTuple):
    """One class's shots.

    Attributes:
        view: of K images.
        prior: of the K, or None where nothing is known of any.
    """

    view: View
    prior: Prior | None


@dataclass(frozen=True, eq=False)
class MatchingLocator:
    """See `matching`. With several classes each class's foreground is evidence against the others.

    Attributes:
        matcher: for the embedder whose features it gets.
        classifier: (L,C) weights of the backbone's own last layer.
        rounds: of matching, at least 1.
    """

    matcher: Matcher
    classifier: Tensor
    rounds: int

    def prepare(self, classes: Sequence[Sequence[Example]]) -> tuple[Shots, ...]:
        """The shots' features together, and what is known of them."""
        return tuple(_shots(examples) for examples in classes)

    def locate(self, query: EncodedQuery, prepared: tuple[Shots, ...]) -> Located:
        """Probabilities of each class, which add up to at most 1, and of its being there at all."""
        view = _view([query.features])
        prior = [prior_of([constraints], view.encoded.objectness) for constraints in query.constraints]
        found = [self._match(view, shots, query_prior) for shots, query_prior in zip(prepared, prior, strict=True)]
        logits = torch.stack([one.query[0] for one in found])  # (N,h,w)
        if len(prepared) > 1:
            logits = self._against_others(view, prepared, found, prior)
        scores = [self._presence(view, shots, one) for shots, one in zip(prepared, found, strict=True)]
        softs = tuple(_soft(shots, one) for shots, one in zip(prepared, found, strict=True))
        return Located(to_numpy(_joint(logits)), to_numpy(torch.stack(scores)), probabilistic=True, shots=softs)

    def _match(self, view: View, shots: Shots, query_prior: Prior | None) -> Matched:
        return match(self.matcher, self.classifier, view, shots.view, shots.prior, query_prior, self.rounds)[-1]

    def _presence(self, view: View, shots: Shots, found: Matched) -> Tensor:
        """The probability that one query shows the shots' object."""
        soft = _soft(shots, found)[None]
        query, examples = view, shots.view
        kinds = query.encoded.kinds, examples.encoded.kinds[None]
        return torch.sigmoid(self.matcher.presence(query.feature_map, examples.feature_map[None], soft, *kinds))[0]

    def _against_others(
        self, view: View, prepared: Sequence[Shots], found: Sequence[Matched], prior: Sequence[Prior | None]
    ) -> Tensor:
        """(N,h,w) logits, every class once more with the others' foreground among the background's keys."""
        softs = [_soft(shots, one) for shots, one in zip(prepared, found, strict=True)]
        negatives = [negative_keys(shots.view, soft) for shots, soft in zip(prepared, softs, strict=True)]
        logits = []
        for place, shots in enumerate(prepared):
            others: list[Keys] = [*negatives[:place], *negatives[place + 1 :]]
            query_prior = prior[place]
            one = decide_with(
                self.matcher, self.classifier, view, shots.view, softs[place], [join(*others)], query_prior
            )
            logits.append(one[0])
        return torch.stack(logits)


def _joint(logits: Tensor) -> Tensor:
    """Logits (N,h,w) of each class against none of them -> probabilities (N,h,w): one softmax with background."""
    return torch.softmax(torch.cat([torch.zeros_like(logits[:1]), logits]), 0)[1:]


def _soft(shots: Shots, found: Matched) -> Tensor:
    """The shots' foreground (K,h,w) as matched, or as known."""
    return with_prior(torch.sigmoid(found.shots[0]), shots.prior)


def _shots(examples: Sequence[Example]) -> Shots:
    view = _view([one.features for one in examples])
    return Shots(view, prior_of([one.constraints for one in examples], view.encoded.objectness))


def _view(features: Sequence[Features]) -> View:
    encoded = [one.encoded for one in features if one.encoded is not None]
    maps = torch.stack([one.maps[LAST] for one in features])
    return View(maps, Encoded(*(torch.stack(parts) for parts in zip(*encoded, strict=True))))
