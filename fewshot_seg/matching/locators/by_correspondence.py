"""Correspondence without training, for any embedder; with several classes the others' objects speak against each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fewshot_seg.matching.features import LAST, Features, as_embedding
from fewshot_seg.matching.locators import EncodedQuery, Example, Located, prior_of, to_numpy
from fewshot_seg.matching.rounds import Prior
from fewshot_seg.matching.training_free import Negative, Scene, locate, scene_of
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.constraints import Constraints


class _Shots(NamedTuple):
    scene: Scene  # of K images
    prior: Prior | None


@dataclass(frozen=True, eq=False)
class CorrespondenceLocator:
    """See `training_free`.

    Attributes:
        embedder: any.
        rounds: between query and supports, at least 1.
    """

    embedder: Embedder
    rounds: int

    def prepare(self, classes: Sequence[Sequence[Example]]) -> tuple[_Shots, ...]:
        """The shots' features together, and what is known of them."""
        return tuple(self._shots(examples) for examples in classes)

    def locate(self, query: EncodedQuery, prepared: tuple[_Shots, ...]) -> Located:
        """Maps in [0, 1]; a score is the cosine between query and shots, each seen through its map."""
        scene = _scene([query.features])
        maps, scores, softs = [], [], []
        for place, shots in enumerate(prepared):
            negatives = [Negative(other.scene) for other in (*prepared[:place], *prepared[place + 1 :])]
            query_prior = _known([query.constraints[place]], scene)
            found = locate(self.embedder, scene, shots.scene, negatives, shots.prior, query_prior, self.rounds)
            maps.append(found.query[0])
            softs.append(found.shots[0])
            scores.append(self._score(scene, found.query, shots.scene, found.shots[0]))
        return Located(to_numpy(torch.stack(maps)), to_numpy(torch.stack(scores)), False, tuple(softs))

    def _score(self, query: Scene, map_: Tensor, shots: Scene, maps: Tensor) -> Tensor:
        seen, shown = (
            self.embedder.head(scene.emb.feature_map * _resized(soft, scene))
            for scene, soft in ((query, map_), (shots, maps))
        )
        score: Tensor = (seen @ shown.T).mean().clamp(0, 1)
        return score

    def _shots(self, examples: Sequence[Example]) -> _Shots:
        scene = _scene([one.features for one in examples])
        return _Shots(scene, _known([one.constraints for one in examples], scene))


def _scene(features: Sequence[Features]) -> Scene:
    names = [name for name in features[0].maps if name != LAST]
    return scene_of(as_embedding(features), {name: torch.stack([one.maps[name] for one in features]) for name in names})


def _known(constraints: Sequence[Constraints | None], scene: Scene) -> Prior | None:
    return prior_of(constraints, scene.stacked[:, 0])


def _resized(soft: Tensor, scene: Scene) -> Tensor:
    """(B,1,h0,w0) of (B,h,w)."""
    height, width = scene.emb.feature_map.shape[2:]
    return torch.nn.functional.adaptive_avg_pool2d(soft[:, None], (height, width))
