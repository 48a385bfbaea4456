"""Similarity attention as it is (paper, section 3.3): each class's supports against the others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fewshot_seg.attention.maps import Shots, Variant, scale_maps, shots_of, similarity_maps
from fewshot_seg.matching.features import as_embedding
from fewshot_seg.matching.locators import EncodedQuery, Example, Located, to_numpy
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.constraints import share_of


@dataclass(frozen=True, eq=False)
class AttentionLocator:
    """Equation 1's maps; a mask, box or mark of a support decides what of it enters the embedding.

    Attributes:
        embedder: any.
        weighting, through_norm, rejection: as `SegmenterOptions` has them.
    """

    embedder: Embedder
    weighting: Variant
    through_norm: bool
    rejection: float

    def prepare(self, classes: Sequence[Sequence[Example]]) -> tuple[Shots, ...]:
        """What each class's shots show; each shot alone: its last bits, too, are its own."""
        each = [[self._shot(shot) for shot in shots] for shots in classes]
        return tuple(Shots(*(torch.cat(parts) for parts in zip(*shots, strict=True))) for shots in each)

    def locate(self, query: EncodedQuery, prepared: tuple[Shots, ...]) -> Located:
        """Maps scaled to [0, 1]; a score is the cosine between the query seen through its map and the shots."""
        emb = as_embedding([query.features])
        maps, scores = [], []
        for label, positives in enumerate(prepared):
            negatives = [*prepared[:label], *prepared[label + 1 :]]
            found = similarity_maps(
                self.embedder,
                emb,
                positives,
                negatives,
                self.weighting,
                through_norm=self.through_norm,
                rejection=self.rejection,
            )
            attention = scale_maps(found)
            attended = self.embedder.head(emb.feature_map * attention[:, None])  # (1,D)
            maps.append(attention[0])
            scores.append((attended @ positives.vectors.T).mean(1).clamp(0, 1)[0])
        return Located(to_numpy(torch.stack(maps)), to_numpy(torch.stack(scores)), probabilistic=False)

    def _shot(self, shot: Example) -> Shots:
        """One shot, without what is marked as background: (1,D) and (1,C)."""
        emb = as_embedding([shot.features])
        if shot.constraints is None:
            return shots_of(self.embedder, emb)
        h, w = emb.feature_map.shape[2:]
        cover = torch.from_numpy(1 - share_of(shot.constraints.background, (h, w))).to(emb.feature_map)
        return shots_of(self.embedder, emb, cover[None])
