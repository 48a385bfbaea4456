"""How good an embedder is on images of classes that it wasn't trained on: R@K, and the survival of similarity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.network.embedder import Embedder
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.retrieval.recall import recall_at_k
from train_embed.data.loading import EvaluationLoader
from train_embed.mining.erasing import soft_mask
from train_embed.mining.similarity import MiningOptions, mining_tuples, similarity_survival, tuple_attention
from train_embed.run.ranking import Roles, reid_scores

__all__ = ["Validator"]

PROBES = 128
"""Tuples that the survival is measured on."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Validator:
    """Measures embedders on the same images and the same tuples every time.

    Attributes:
        images: of classes that aren't trained on.
        options: how tuples are explained and erased.
        ks: the K of R@K.
        batch_size: images at once.
        workers: processes that read.
        max_unreadable: so many files may be unreadable.
        roles: where cameras are known, who asks whom: then re-identification's rules count (`train_embed.run.ranking`).
    """

    images: LabelledImages
    options: MiningOptions
    ks: tuple[int, ...]
    batch_size: int = 32
    workers: int = 0
    max_unreadable: int = 0
    roles: Roles | None = None

    def recall(self, embedder: Embedder, check: Callable[[], None], backbone: bool = False) -> dict[str, float]:
        """{"recall@1": ...}, in [0, 1], by cosine; where cameras are known "map", too.

        Args:
            embedder: in eval mode.
            check: called between batches; what it raises ends the measurement.
            backbone: measure the trunk's pooled map instead, without the neck: what there is before training, with
                the same size and preprocessing. (A neck starts random: it would be a straw man.)
        """
        vectors, labels, indices = [], [], []
        for images, batch_labels, batch_indices in self._batches(self.images, embedder, check):
            with torch.inference_mode():
                emb = embedder(images)
                vectors.append(_pooled(embedder, emb.feature_map) if backbone else emb.vector)
            labels.append(batch_labels)
            indices.append(batch_indices)
        if self.roles is not None:
            return reid_scores(torch.cat(vectors), torch.cat(labels), torch.cat(indices), self.roles, self.ks)
        values = recall_at_k(torch.cat(vectors), torch.cat(labels), self.ks)
        return {f"recall@{k}": value for k, value in values.items()}

    def survival(self, embedder: Embedder, check: Callable[[], None]) -> dict[str, float]:
        """What survives erasing on the fixed tuples; NaN where there is nothing to survive.

        Returns:
            "survival": of similarity, mean ``cos(fa*, fp*)`` over mean ``cos(fa, fp)``
            (`mining.similarity_survival`). "survival_margin", not for pairs: of what tells the positive
            from the negatives, the same ratio of ``cos(fa, fp) - cos(fa, fn)``. The first has a floor that has
            nothing to do with the object: two images that are mostly erased resemble each other for that alone. The
            second has not, and it is what equation 2 brings to 0.
        """
        tuples = self.probes(PROBES)
        found = []
        for start in range(0, len(tuples), _AT_ONCE):
            check()
            part = tuples[start : start + _AT_ONCE]
            images = self.load(part, embedder)
            if images is not None:
                found.append(_cosines(embedder, images, _consecutive(part), self.options))
        values = {"survival": math.nan}
        if found:
            before, after = torch.cat([b for b, _ in found]), torch.cat([a for _, a in found])  # (T,size-1)
            values["survival"] = similarity_survival(torch.stack([before[:, 0], after[:, 0]], 1))
            if before.shape[1] > 1:
                margins = [c[:, 0] - c[:, 1:].mean(1) for c in (before, after)]
                values["survival_margin"] = similarity_survival(torch.stack(margins, 1))
        return values

    def probes(self, count: int) -> Tensor:
        """At most `count` tuples (T,size) of indices into the images, the same at every call, spread over classes."""
        tuples = mining_tuples(torch.tensor(self.images.labels), self.options.kind, seed=0, step=0)
        return tuples[:count]

    def load(self, tuples: Tensor, embedder: Embedder) -> Tensor | None:
        """The images (T*size,3,H,W) of tuples (T,size), tuple by tuple; None where one can't be read."""
        rows = [int(row) for row in tuples.reshape(-1)]
        preprocessing, limit = embedder.preprocessing, len(rows)
        loader = EvaluationLoader(self.images.take(rows), preprocessing, batch_size=limit, max_unreadable=limit)
        batches = list(loader)
        return batches[0].images.to(embedder.device) if batches and len(batches[0].indices) == limit else None

    def _batches(
        self, images: LabelledImages, embedder: Embedder, check: Callable[[], None]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        loader = EvaluationLoader(
            images,
            embedder.preprocessing,
            batch_size=self.batch_size,
            workers=self.workers,
            max_unreadable=self.max_unreadable,
        )
        for batch in loader:
            check()
            yield batch.images, batch.labels, batch.indices


@torch.inference_mode()
def _cosines(embedder: Embedder, images: Tensor, tuples: Tensor, options: MiningOptions) -> tuple[Tensor, Tensor]:
    """Cosines of the anchor with each other image of its tuple (T,size-1), before and after erasing, on the CPU."""
    emb = embedder(images)
    maps = tuple_attention(embedder, emb, tuples, options)
    rows = tuples.t().reshape(-1)
    erased = embedder(soft_mask(images[rows], maps, options.alpha, options.beta)).vector
    found = []
    for vectors in (emb.vector[rows], erased):
        parts = torch.stack(vectors.chunk(tuples.shape[1]), 1).double()  # (T,size,D)
        found.append(torch.einsum("td,tsd->ts", parts[:, 0], parts[:, 1:]).cpu())
    return found[0], found[1]


def _pooled(embedder: Embedder, feature_map: Tensor) -> Tensor:
    head = embedder.head
    pooled = head.pool(feature_map) if isinstance(head, PooledHead) else feature_map.mean(dim=(2, 3))
    return functional.normalize(pooled, dim=1)


def _consecutive(tuples: Tensor) -> Tensor:
    """The tuples (T,size) as indices into their own images, which lie tuple by tuple."""
    return torch.arange(tuples.numel()).reshape(tuples.shape)
