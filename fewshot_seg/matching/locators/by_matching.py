"""Matching by the trained matcher, and one decision over all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fewshot_seg.matching.correspondence import join
from fewshot_seg.matching.features import LAST, Features
from fewshot_seg.matching.locators import EncodedQuery, Example, Located, joint, prior_of, to_numpy
from fewshot_seg.matching.matcher import Encoded, Matcher
from fewshot_seg.matching.rounds import Prior, View, decide_with, match, negative_keys, with_prior


class Shots(NamedTuple):
    """One class's shots."""

    view: View  # of K images
    prior: Prior | None  # of the K; None where nothing is known of any


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
        found = [
            match(self.matcher, self.classifier, view, shots.view, shots.prior, query_prior, self.rounds)[-1]
            for shots, query_prior in zip(prepared, prior, strict=True)
        ]
        softs = tuple(
            with_prior(torch.sigmoid(one.shots[0]), shots.prior) for shots, one in zip(prepared, found, strict=True)
        )
        logits = torch.stack([one.query[0] for one in found])  # (N,h,w)
        if len(prepared) > 1:
            logits = self._against_others(view, prepared, softs, prior)
        scores = [self._presence(view, shots.view, soft) for shots, soft in zip(prepared, softs, strict=True)]
        return Located(joint(logits), to_numpy(torch.stack(scores)), probabilistic=True, shots=softs)

    def _presence(self, query: View, shots: View, soft: Tensor) -> Tensor:
        """The probability that one query shows the shots' object, their foreground (K,h,w)."""
        kinds = query.encoded.kinds, shots.encoded.kinds[None]
        return torch.sigmoid(self.matcher.presence(query.feature_map, shots.feature_map[None], soft[None], *kinds))[0]

    def _against_others(
        self, view: View, prepared: Sequence[Shots], softs: Sequence[Tensor], prior: Sequence[Prior | None]
    ) -> Tensor:
        """(N,h,w) logits, every class once more with the others' foreground among the background's keys."""
        negatives = [negative_keys(shots.view, soft) for shots, soft in zip(prepared, softs, strict=True)]
        logits = []
        for place, shots in enumerate(prepared):
            others = join(*negatives[:place], *negatives[place + 1 :])
            found = decide_with(self.matcher, self.classifier, view, shots.view, softs[place], [others], prior[place])
            logits.append(found[0])
        return torch.stack(logits)


def _shots(examples: Sequence[Example]) -> Shots:
    view = _view([one.features for one in examples])
    return Shots(view, prior_of([one.constraints for one in examples], view.encoded.objectness))


def _view(features: Sequence[Features]) -> View:
    encoded = [one.encoded for one in features if one.encoded is not None]
    maps = torch.stack([one.maps[LAST] for one in features])
    return View(maps, Encoded(*(torch.stack(parts) for parts in zip(*encoded, strict=True))))
