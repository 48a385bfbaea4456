"""Similarity attention as it is (paper, section 3.3): each class's supports against the others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_seg.attention import attention_maps, scale_maps
from fewshot_seg.embedding import Embedder
from fewshot_seg.features import LAST, as_embedding
from fewshot_seg.hints import share_of
from fewshot_seg.locators import Example, Located, QueryView, to_numpy
from fewshot_seg.weighting import Weighting, shot_weights

__all__ = ["AttentionLocator"]


@dataclass(frozen=True, eq=False)
class AttentionLocator:
    """Equation 1's maps; a mask, box or mark of a support decides what of it enters the embedding.

    Attributes:
        embedder: any.
        weighting, through_norm, rejection: as `SegmenterOptions` has them.
    """

    embedder: Embedder
    weighting: Weighting
    through_norm: bool
    rejection: float

    def prepare(self, classes: Sequence[Sequence[Example]]) -> tuple[Tensor, ...]:
        """(K,D) unit-norm embeddings of each class's shots."""
        return tuple(torch.stack([self._vector(shot) for shot in shots]) for shots in classes)

    def locate(self, query: QueryView, prepared: tuple[Tensor, ...]) -> Located:
        """Maps scaled to [0, 1]; a score is the cosine between the query seen through its map and the shots."""
        emb = as_embedding([query.features])
        maps, scores = [], []
        for label, positives in enumerate(prepared):
            negatives = [*prepared[:label], *prepared[label + 1 :]]
            w = shot_weights(emb.vector, positives, negatives, weighting=self.weighting, rejection=self.rejection)
            attention = scale_maps(attention_maps(self.embedder, emb, w, through_norm=self.through_norm))
            attended = self.embedder.head(emb.feature_map * attention[:, None])  # (1,D)
            maps.append(attention[0])
            scores.append((attended @ positives.T).mean(1).clamp(0, 1)[0])
        return Located(to_numpy(torch.stack(maps)), to_numpy(torch.stack(scores)), probable=False)

    def _vector(self, shot: Example) -> Tensor:
        """A shot's embedding (D,). Each shot alone: its last bits, too, are its own."""
        if shot.marks is None:
            return shot.features.vector
        feature_map = shot.features.maps[LAST]  # (C,h,w)
        h, w = feature_map.shape[1:]
        cover = torch.from_numpy(1 - share_of(shot.marks.background, (h, w))).to(feature_map)
        seen: Tensor = self.embedder.head((feature_map * cover)[None])
        return seen[0]
