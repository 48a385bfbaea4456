"""Matching by the trained matcher, and one decision over all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fewshot_seg.matching.correspondence import Keys, join
from fewshot_seg.matching.features import LAST, Features
from fewshot_seg.matching.locators import Example, Located, QueryView, known_of, to_numpy
from fewshot_seg.matching.matcher import Encoded, Matcher
from fewshot_seg.matching.rounds import Known, Matched, View, decide_with, match, rival_keys, with_known


class Shots(NamedTuple):
    """One class's shots.

    Attributes:
        view: of K images.
        known: of the K, or None where nothing is known of any.
    """

    view: View
    known: Known | None


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

    def locate(self, query: QueryView, prepared: tuple[Shots, ...]) -> Located:
        """Probabilities of each class, which add up to at most 1, and of its being there at all."""
        view = _view([query.features])
        known = [known_of([marks], view.encoded.objectness) for marks in query.marks]
        found = [self._match(view, shots, told) for shots, told in zip(prepared, known, strict=True)]
        logits = torch.stack([one.query[0] for one in found])  # (N,h,w)
        if len(prepared) > 1:
            logits = self._against_rivals(view, prepared, found, known)
        scores = [self._presence(view, shots, one) for shots, one in zip(prepared, found, strict=True)]
        softs = tuple(_soft(shots, one) for shots, one in zip(prepared, found, strict=True))
        return Located(to_numpy(_joint(logits)), to_numpy(torch.stack(scores)), probable=True, shots=softs)

    def _match(self, view: View, shots: Shots, told: Known | None) -> Matched:
        return match(self.matcher, self.classifier, view, shots.view, shots.known, told, self.rounds)[-1]

    def _presence(self, view: View, shots: Shots, found: Matched) -> Tensor:
        """The probability that one query shows the shots' object."""
        soft = _soft(shots, found)[None]
        query, examples = view, shots.view
        kinds = query.encoded.kinds, examples.encoded.kinds[None]
        return torch.sigmoid(self.matcher.presence(query.feature_map, examples.feature_map[None], soft, *kinds))[0]

    def _against_rivals(
        self, view: View, prepared: Sequence[Shots], found: Sequence[Matched], known: Sequence[Known | None]
    ) -> Tensor:
        """(N,h,w) logits, every class once more with the others' foreground among the background's keys."""
        softs = [_soft(shots, one) for shots, one in zip(prepared, found, strict=True)]
        rivals = [rival_keys(shots.view, soft) for shots, soft in zip(prepared, softs, strict=True)]
        logits = []
        for place, shots in enumerate(prepared):
            others: list[Keys] = [*rivals[:place], *rivals[place + 1 :]]
            told = known[place]
            one = decide_with(self.matcher, self.classifier, view, shots.view, softs[place], [join(*others)], told)
            logits.append(one[0])
        return torch.stack(logits)


def _joint(logits: Tensor) -> Tensor:
    """Logits (N,h,w) of each class against none of them -> probabilities (N,h,w): one softmax with background."""
    return torch.softmax(torch.cat([torch.zeros_like(logits[:1]), logits]), 0)[1:]


def _soft(shots: Shots, found: Matched) -> Tensor:
    """The shots' foreground (K,h,w) as matched, or as known."""
    return with_known(torch.sigmoid(found.shots[0]), shots.known)


def _shots(examples: Sequence[Example]) -> Shots:
    view = _view([one.features for one in examples])
    return Shots(view, known_of([one.marks for one in examples], view.encoded.objectness))


def _view(features: Sequence[Features]) -> View:
    encoded = [one.encoded for one in features if one.encoded is not None]
    maps = torch.stack([one.maps[LAST] for one in features])
    return View(maps, Encoded(*(torch.stack(parts) for parts in zip(*encoded, strict=True))))
