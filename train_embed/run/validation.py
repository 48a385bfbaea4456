"""How good an embedder is on images of classes that it wasn't trained on: R@K, and the survival of similarity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.errors import DataError
from fewshot_seg.network.embedder import Embedder
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.reid.ranking import Identities, score_rows, similarity_rows
from fewshot_seg.retrieval.recall import recall_at_k
from train_embed.data.loading import EvaluationLoader
from train_embed.mining.similarity import MiningOptions, erased_similarities, similarity_survival
from train_embed.mining.tuples import mining_tuples

PROBES = 128
"""Tuples that the survival is measured on."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Roles:
    """Who asks and who is asked for, as indices into the validation images; an image may be both.

    Attributes:
        queries: those that ask.
        gallery: those that are looked through.
        cameras: of all validation images.
    """

    queries: tuple[int, ...]
    gallery: tuple[int, ...]
    cameras: tuple[int, ...]


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
        roles: where cameras are known, who asks whom: then re-identification's rules count (`reid_scores`).
        unreadable: file -> why it could not be read, so far.
    """

    images: LabelledImages
    options: MiningOptions
    ks: tuple[int, ...]
    batch_size: int = 32
    workers: int = 0
    max_unreadable: int = 0
    roles: Roles | None = None
    unreadable: dict[str, str] = field(default_factory=dict)

    def recall(self, embedder: Embedder, check: Callable[[], None], backbone: bool = False) -> dict[str, float]:
        """{"recall@1": ...}, in [0, 1], by cosine; where cameras are known "map", too.

        Args:
            embedder: in eval mode.
            check: called between batches; what it raises ends the measurement.
            backbone: measure the trunk's pooled map instead, without the neck: what there is before training, with
                the same size and preprocessing. (A neck starts random: it would be a straw man.)
        """
        vectors, labels, indices = [], [], []
        loader = EvaluationLoader(
            self.images,
            embedder.preprocessing,
            batch_size=self.batch_size,
            workers=self.workers,
            max_unreadable=self.max_unreadable,
        )
        for batch in loader:
            check()
            with torch.inference_mode():
                emb = embedder(batch.images)
                vectors.append(_pooled(embedder, emb.feature_map) if backbone else emb.vector)
            labels.append(batch.labels)
            indices.append(batch.indices)
        self.unreadable.update(loader.unreadable)
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
                consecutive = torch.arange(len(images)).view(-1, part.shape[1])  # the images lie tuple by tuple
                found.append(erased_similarities(embedder, images, consecutive, self.options))
        values = {"survival": math.nan}
        if found:
            cosines = torch.cat(found)  # (T,size-1,2)
            values["survival"] = similarity_survival(cosines[:, 0])
            if cosines.shape[1] > 1:
                values["survival_margin"] = similarity_survival(cosines[:, 0] - cosines[:, 1:].mean(1))
        return values

    def probes(self, count: int) -> Tensor:
        """At most `count` tuples (T,size) of indices into the images, the same at every call, spread over classes."""
        tuples = mining_tuples(torch.tensor(self.images.labels), self.options.kind, seed=0, step=0)
        return tuples[:count]

    def load(self, tuples: Tensor, embedder: Embedder) -> Tensor | None:
        """The images (T'*size,3,H,W) of those tuples (T,size) that can be read, tuple by tuple; None for none."""
        rows = list(dict.fromkeys(int(row) for row in tuples.reshape(-1)))  # few classes: an image may come twice
        limit = len(rows)
        loader = EvaluationLoader(
            self.images.take(rows), embedder.preprocessing, batch_size=limit, max_unreadable=limit
        )
        try:
            (batch,) = loader
        except DataError:  # none of them can be read
            return None
        place = {rows[int(index)]: at for at, index in enumerate(batch.indices)}
        whole = [one for one in tuples.tolist() if all(row in place for row in one)]
        kept = torch.tensor([place[row] for one in whole for row in one], dtype=torch.int64)
        return batch.images[kept].to(embedder.device) if whole else None


def reid_scores(f: Tensor, labels: Tensor, indices: Tensor, roles: Roles, ks: Sequence[int]) -> dict[str, float]:
    """CMC at each K and mAP by cosine, over the queries that have a right answer in their gallery.

    Args:
        f: (N,D) unit-norm embeddings of validation images.
        labels: (N,) their identities.
        indices: (N,) which of the validation images they are; unreadable ones are not among them.
        roles: who asks whom.
        ks: ranks, each >= 1.

    Returns:
        {"recall@K": share of queries with a right answer among the first K, ..., "map": mean average precision}.

    Raises:
        DataError: no query has a right answer.
    """
    place = {int(index): row for row, index in enumerate(indices)}
    everyone = Identities(labels.cpu(), torch.tensor(roles.cameras)[indices.cpu()], indices.cpu())
    queries, gallery = (
        torch.tensor([place[i] for i in chosen if i in place], dtype=torch.int64)
        for chosen in (roles.queries, roles.gallery)
    )
    rows = similarity_rows(f[queries], f[gallery])
    found = score_rows(rows, everyone.take(queries), everyone.take(gallery))[0]
    if not bool(found.answerable.any()):
        raise DataError("no query has an image of its identity from another camera in the gallery: nothing to validate")
    return {f"recall@{k}": share for k, share in found.cmc(ks).items()} | {"map": found.mean("ap")}


def _pooled(embedder: Embedder, feature_map: Tensor) -> Tensor:
    head = embedder.head
    pooled = head.pool(feature_map) if isinstance(head, PooledHead) else feature_map.mean(dim=(2, 3))
    return functional.normalize(pooled, dim=1)
