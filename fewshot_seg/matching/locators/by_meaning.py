"""The same thing, or the same kind of thing: another locator's maps, and what appearance adds to them.

If the support's scene comes again in the query, as in a video or a series of photographs, then this very thing is
looked for, by appearance; else the kind, by the other locator, with appearance as further evidence where a mask says
exactly what is meant. In between both count, each for its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_seg.matching import appearance
from fewshot_seg.matching.appearance import COARSE, FINE, Keys, Past, joined, margin, together
from fewshot_seg.matching.features import Features
from fewshot_seg.matching.locators import EncodedQuery, Example, Located, Locator, joint
from fewshot_seg.prompts.constraints import share_of

Meaning: TypeAlias = Literal["auto", "kind", "thing"]

# Measured on DAVIS (6 sequences) and VOC (held-out folds): docs/meaning.md.
_SHARPNESS = 25.0  # of a margin, as a logit
_FLOOR = 0.45  # the least cosine that counts for what is not the thing
_LEAST_MARGIN = 0.05  # of the surest positions, for a thing to be as likely there as not
_SCENE = (0.42, 0.52)  # likeness of scenes from which on a thing may, and must, be meant
_MEMORY = 0.5  # the share of earlier frames in a sequence's logits
_JUMP, _NEAR = 40.0, 0.05  # a logit for a jump as long as the image; jumps up to the second are free
_SURE = 1e-3  # probabilities are kept this far from 0 and 1


class _Trust(NamedTuple):
    """How much appearance and the other locator count, by what is known of a class's shots."""

    margin: float  # as a logit, where the kind is looked for
    kind: float  # of the other locator's logit, there
    thing: float  # of the same, where the thing is looked for
    presence: tuple[float, float, float]  # of the score's logit, of parts that come again, and a bias


_MASK = _Trust(25.0, 0.6, 0.0, (0.5, 15.0, -5.0))
_HINT = _Trust(15.0, 0.8, 0.5, (0.3, 12.0, -4.3))
_NOTHING = _Trust(0.0, 1.0, 0.5, (0.3, 12.0, -4.3))


class _ByDepth(NamedTuple):
    """Keys of one class's shots, on both grids."""

    fine: Keys
    coarse: Keys


class _Prepared(NamedTuple):
    state: Any  # the other locator's
    classes: tuple[Sequence[Example], ...]
    masked: tuple[_ByDepth | None, ...]  # of each class, from the shots that have masks; None where there are none

    def trust(self, place: int) -> _Trust:
        """By what is known of a class's shots."""
        if self.masked[place] is not None:
            return _MASK
        said = (one.constraints is not None and one.constraints.says_present for one in self.classes[place])
        return _HINT if any(said) else _NOTHING

    def others(self, place: int) -> list[_ByDepth]:
        """What other classes' masks show: one more counter-example."""
        return [keys for at, keys in enumerate(self.masked) if at != place and keys is not None]


@dataclass(frozen=True, eq=False)
class MeaningLocator:
    """Another locator, and appearance.

    Attributes:
        locator: finds kinds of things, by probabilities.
        meaning: "kind", "thing", or "auto": by how alike query and supports are.
    """

    locator: Locator
    meaning: Meaning = "auto"

    def prepare(self, classes: Sequence[Sequence[Example]]) -> _Prepared:
        """As the other locator, and the keys of shots with masks."""
        return _Prepared(self.locator.prepare(classes), tuple(classes), tuple(_masked(shots) for shots in classes))

    def locate(self, query: EncodedQuery, prepared: _Prepared) -> Located:
        """The other locator's maps as they are where appearance has nothing to say."""
        located = self.locator.locate(query, prepared.state)
        seen = joined(query.features.maps, COARSE)
        if seen is None:
            return located
        logits, scores, meanings, changed = [], located.scores.copy(), [], any(query.past)
        for place, kind in enumerate(_logits(torch.from_numpy(located.maps).to(seen))):
            own = prepared.masked[place] or _guessed(prepared.classes[place], located, place)
            share = 0.0 if own is None else self._share(seen, own)
            meanings.append(share)
            if own is not None:
                trust = prepared.trust(place)
                changed |= share > 0 or trust.margin > 0
                scores[place] = _presence(scores[place], appearance.found_again(seen, own.coarse), trust)
                kind, score = _decided(kind, query.features, own, prepared.others(place), share, trust)
                scores[place] += share * (score - scores[place]) if trust is _MASK else 0
            past = query.past[place] if query.past else None
            logits.append(kind if past is None else _with_past(kind, query.features, past))
        maps = _joint(logits) if changed else located.maps
        return located._replace(maps=maps, scores=scores, meanings=tuple(meanings))

    def _share(self, seen: Tensor, own: _ByDepth) -> float:
        """How far the very thing is meant."""
        if self.meaning != "auto":
            return float(self.meaning == "thing")
        least, most = _SCENE
        return min(1.0, max(0.0, (appearance.likeness(seen, own.coarse) - least) / (most - least)))


def _presence(score: float, again: float, trust: _Trust) -> float:
    """How sure it is that the object is there: the other locator's probability, and whether its parts come again."""
    of_score, of_parts, bias = trust.presence
    logit = torch.logit(torch.tensor(float(score)), eps=1e-4)
    return float(torch.sigmoid(of_score * logit + of_parts * again + bias))


def _decided(
    kind: Tensor, query: Features, own: _ByDepth, others: Sequence[_ByDepth], share: float, trust: _Trust
) -> tuple[Tensor, float]:
    """A class's logits, on the finer grid where a thing is looked for, and how sure it is that the thing is there."""
    guess, score = kind, 0.0
    if share < 1 and trust.margin > 0:
        kind = trust.kind * guess + trust.margin * _margin(query, own, others, fine=False, size=guess.shape)
    if share == 0:
        return kind, score
    found = _margin(query, own, others, fine=True)
    score = float(torch.sigmoid(torch.tensor(_SHARPNESS * (appearance.sure_mean(found) - _LEAST_MARGIN))))
    thing = _SHARPNESS * found + trust.thing * _resized(guess, found.shape)
    return share * thing + (1 - share) * _resized(kind, thing.shape), score


def _with_past(logits: Tensor, query: Features, past: Past) -> Tensor:
    """A class's logits (h,w) with what earlier frames say: what the object looked like then, and where it was."""
    seen = joined(query.maps, FINE)
    assert seen is not None
    remembered = _SHARPNESS * margin(seen, past.keys, _FLOOR)
    both = (1 - _MEMORY) * _resized(logits, remembered.shape) + _MEMORY * remembered
    if past.distance is None:
        return both
    return both - _JUMP * (_resized(past.distance.to(both), both.shape) - _NEAR).clamp(min=0)


def _margin(
    query: Features, own: _ByDepth, others: Sequence[_ByDepth], fine: bool, size: torch.Size | None = None
) -> Tensor:
    keys = own.fine if fine else own.coarse
    against = [(one.fine if fine else one.coarse).inside for one in others]
    seen = joined(query.maps, FINE if fine else COARSE)
    assert seen is not None
    found = margin(seen, Keys(keys.inside, torch.cat([keys.outside, *against])), _FLOOR if fine else -1.0)
    return found if size is None else _resized(found, size)


def _masked(shots: Sequence[Example]) -> _ByDepth | None:
    """The keys of those shots that have masks, as a whole and close by."""
    views = [one for shot in shots for one in (shot, shot.close) if one is not None]
    masks = [
        (one.features, one.constraints.foreground) for one in views if one.constraints and one.constraints.complete
    ]
    return _together([_by_depth(features, mask) for features, mask in masks if mask.any()])


def _guessed(shots: Sequence[Example], located: Located, place: int) -> _ByDepth | None:
    """The keys of shots without masks, from what the other locator takes to be their foreground."""
    if not located.shots:
        return None
    softs = located.shots[place].float().cpu().numpy()
    return _together([_by_depth(shot.features, soft) for shot, soft in zip(shots, softs, strict=True)])


def _together(found: Sequence[_ByDepth | None]) -> _ByDepth | None:
    keys = [one for one in found if one is not None]
    return _ByDepth(*(together(part) for part in zip(*keys, strict=True))) if keys else None


def _by_depth(features: Features, foreground: np.ndarray[Any, Any]) -> _ByDepth | None:
    """Keys by a foreground of any size (h',w'), bool or in [0, 1]."""
    found = []
    for names in (FINE, COARSE):
        vectors = joined(features.maps, names)
        if vectors is None:
            return None
        h, w = vectors.shape[1:]
        soft = torch.from_numpy(foreground.astype(np.float32))
        small = torch.from_numpy(share_of(foreground, (h, w))) if h <= soft.shape[0] else _resized(soft, (h, w))
        found.append(appearance.keys_of(vectors, small.to(vectors)))
    return _ByDepth(*found)


def _joint(logits: Sequence[Tensor]) -> np.ndarray[Any, Any]:
    """Each class's logits against none of them, as probabilities (N,h,w) that add up to at most 1."""
    size = max((one.shape for one in logits), key=lambda shape: shape[0] * shape[1])
    each = torch.stack([_resized(one, size) for one in logits])
    return joint(each)


def _logits(maps: Tensor) -> Tensor:
    """Probabilities (N,h,w) -> each class's logits against none of them: what `_joint` turns back."""
    return maps.clamp(_SURE, 1).log() - (1 - maps.sum(0)).clamp(_SURE, 1).log()


def _resized(map_: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(map_.shape) == tuple(size):
        return map_
    return F.interpolate(map_[None, None], tuple(size), mode="bilinear", align_corners=False)[0, 0]
