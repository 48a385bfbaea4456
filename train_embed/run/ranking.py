"""Re-identification's figures in validation: CMC and mAP, by the rules of `fewshot_seg.reid`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_seg.errors import DataError
from fewshot_seg.reid.ranking import score_vectors
from fewshot_seg.reid.rules import Identities

__all__ = ["Roles", "reid_scores"]


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
    found = score_vectors(f[queries], f[gallery], everyone.take(queries), everyone.take(gallery))
    if not bool(found.answerable.any()):
        raise DataError("no query has an image of its identity from another camera in the gallery: nothing to validate")
    return {f"recall@{k}": share for k, share in found.cmc(ks).items()} | {"map": found.mean("ap")}
