"""Re-identification's figures in validation: CMC and mAP, by the rules of its benchmarks.

A query's gallery is all gallery images but itself and those of its own identity that its own camera took: these are
the next frames of the same recording, and finding them proves nothing (Zheng et al., 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_seg.errors import DataError

__all__ = ["Roles", "reid_scores"]

CHUNK = 512


@dataclass(frozen=True)
class Roles:
    """Who asks and who is asked for, as indices into the validation images, ascending; an image may be both.

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

    Equal similarities stand in the gallery's order. AP is the mean, over the right answers, of the precision at each.

    Args:
        f: (N,D) unit-norm embeddings of validation images.
        labels: (N,) their identities.
        indices: (N,) which of the validation images they are, ascending; unreadable ones are not among them.
        roles: who asks whom.
        ks: ranks, each >= 1.

    Returns:
        {"recall@K": share of queries with a right answer among the first K, ..., "map": mean average precision}.

    Raises:
        DataError: no query has a right answer.
    """
    place = {int(index): row for row, index in enumerate(indices)}
    queries = torch.tensor([place[i] for i in roles.queries if i in place], device=f.device)
    gallery = torch.tensor([place[i] for i in roles.gallery if i in place], device=f.device)
    cameras = torch.tensor(roles.cameras)[indices.cpu()].to(f.device)
    labels = labels.to(f.device)
    first, precision = [], []
    for part in torch.split(queries, CHUNK) if len(queries) and len(gallery) else ():
        hits, ranks = _ranked(f, labels, cameras, part, gallery)
        found = hits.any(1)
        hits, ranks = hits[found], ranks[found]
        so_far = hits.cumsum(1)
        precision.append((hits * so_far / ranks.clamp_min(1)).sum(1) / so_far[:, -1])
        first.append(torch.where(hits, ranks, torch.iinfo(ranks.dtype).max).amin(1))
    if not first or not sum(len(part) for part in first):
        raise DataError("no query has an image of its identity from another camera in the gallery: nothing to validate")
    rank = torch.cat(first)
    scores = {f"recall@{k}": float((rank <= k).double().mean()) for k in ks}
    return scores | {"map": float(torch.cat(precision).double().mean())}


def _ranked(f: Tensor, labels: Tensor, cameras: Tensor, queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """(Q,G), in each query's order of similarity: is it a right answer, and its rank among those that count."""
    similarity = f[queries] @ f[gallery].T  # (Q,G)
    order = similarity.sort(dim=1, descending=True, stable=True).indices
    same = labels[queries, None] == labels[gallery]
    left_out = (same & (cameras[queries, None] == cameras[gallery])) | (queries[:, None] == gallery)
    counted = ~left_out.gather(1, order)
    return same.gather(1, order) & counted, counted.cumsum(1)
