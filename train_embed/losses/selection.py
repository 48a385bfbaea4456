"""Which pairs, triplets and quadruplets of a batch a loss looks at: pytorch-metric-learning's "miners".

("Mining" is the paper's L_sm here, `train_embed.mining`.)

Nothing here has a gradient or is random: the same batch gives the same tuples, in the same order, whatever the
number of ranks that it was gathered from.

- "all": every tuple that the labels allow.
- "hard": for each anchor its farthest positive and its nearest negative.
- "semi-hard": for each anchor and positive the nearest negative that is farther away than the positive; where no
  negative is, the farthest.

Ties go to the image that comes first; an anchor without a positive or a negative in the batch is left out. Each
function takes f (B,D) embeddings and labels (B,) whole numbers, gives int64 indices into f, and raises ShapeError for
shapes that don't belong together and ConfigError for an unknown selection.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from train_embed.config.loss_schema import Selection


def distances(f: Tensor) -> Tensor:
    """Euclidean distances (B,B) between the rows of f (B,D).

    Taken from differences, not from products: those cancel near zero. Rows that are equal have gradient 0.
    """
    return torch.cdist(f, f, compute_mode="donot_use_mm_for_euclid_dist")


@torch.no_grad()
def select_pairs(f: Tensor, labels: Tensor, selection: Selection = "all") -> tuple[Tensor, Tensor]:
    """Positives (P,2), of one class, and negatives (N,2), of two; the smaller index first, sorted, none twice.

    "hard" and "semi-hard" give the pairs that the triplets of the same name are made of.
    """
    _check(f, labels, selection)
    if selection == "all":
        same = labels[:, None] == labels
        return same.triu(1).nonzero(), (~same).triu(1).nonzero()
    same, different = _relations(labels)
    d = distances(f)
    if selection == "hard":
        a, b = same.any(1).nonzero()[:, 0], different.any(1).nonzero()[:, 0]
        return _unordered(a, _farthest(d[a], same[a])), _unordered(b, _nearest(d[b], different[b]))
    a, p, n = _semi_hard(d, same, different).unbind(1)
    return _unordered(a, p), _unordered(a, n)


@torch.no_grad()
def select_triplets(f: Tensor, labels: Tensor, selection: Selection = "all", margin: float = float("inf")) -> Tensor:
    """Triplets (T,3): anchor, positive, negative.

    "semi-hard" leaves out those that satisfy the margin already, the loss of which is 0.
    """
    _check(f, labels, selection)
    same, different = _relations(labels)
    if selection == "all":
        return _all_triplets(same, different)
    d = distances(f)
    if selection == "hard":
        return _hard(d, same, different)
    triplets = _semi_hard(d, same, different)
    a, p, n = triplets.unbind(1)
    return triplets[~(d[a, n] >= d[a, p] + margin)]  # so written, NaN stays, and the loss shows it


@torch.no_grad()
def select_quadruplets(f: Tensor, labels: Tensor, selection: Selection = "all") -> Tensor:
    """Quadruplets (T,4): anchor, positive, and negatives of two further classes.

    The first three are a triplet of the same selection. The second negative is, for "all", any image of a third
    class; for "hard" the one nearest to the first negative; for "semi-hard" the nearest to the first negative among
    those farther from it than the positive is from the anchor, else the farthest. "all" grows with the batch's fourth
    power: for small batches.
    """
    triplets = select_triplets(f, labels, selection)
    a, p, n = triplets.unbind(1)
    third = (labels != labels[a, None]) & (labels != labels[n, None])  # (T,B)
    if selection == "all":
        rows, n2 = third.nonzero().unbind(1)
        return torch.cat([triplets[rows], n2[:, None]], 1)
    d = distances(f)
    from_n = d[n]  # (T,B)
    n2 = _nearest_beyond(from_n, d[a, p], third) if selection == "semi-hard" else _nearest(from_n, third)
    return torch.cat([triplets, n2[:, None]], 1)[third.any(1)]


def _relations(labels: Tensor) -> tuple[Tensor, Tensor]:
    """(B,B) masks: of the same class but not the same image; of different classes."""
    same = labels[:, None] == labels
    different = ~same
    return same.clone().fill_diagonal_(False), different


def _all_triplets(same: Tensor, different: Tensor) -> Tensor:
    pairs = same.nonzero()  # (Q,2)
    rows, n = different[pairs[:, 0]].nonzero().unbind(1)
    return torch.cat([pairs[rows], n[:, None]], 1)


def _hard(d: Tensor, same: Tensor, different: Tensor) -> Tensor:
    a = (same.any(1) & different.any(1)).nonzero()[:, 0]
    return torch.stack([a, _farthest(d[a], same[a]), _nearest(d[a], different[a])], 1)


def _semi_hard(d: Tensor, same: Tensor, different: Tensor) -> Tensor:
    a, p = (same & different.any(1, keepdim=True)).nonzero().unbind(1)
    return torch.stack([a, p, _nearest_beyond(d[a], d[a, p], different[a])], 1)


def _nearest_beyond(d: Tensor, bound: Tensor, allowed: Tensor) -> Tensor:
    """Of each row of d (T,B) the smallest allowed entry above its bound (T,), else the largest allowed one: (T,)."""
    beyond = allowed & (d > bound[:, None])
    return torch.where(beyond.any(1), _nearest(d, beyond), _farthest(d, allowed))


def _nearest(d: Tensor, allowed: Tensor) -> Tensor:
    """Where the smallest allowed entry of each row of d (T,B) is: (T,); the first of equals."""
    return _farthest(-d, allowed)


def _farthest(d: Tensor, allowed: Tensor) -> Tensor:
    """Where the largest allowed entry of each row of d (T,B) is: (T,); the first of equals."""
    if not d.numel():  # torch refuses to look for the largest of none, even if no row asks
        return torch.zeros(len(d), dtype=torch.int64, device=d.device)
    return d.masked_fill(~allowed, float("-inf")).argmax(1)


def _unordered(first: Tensor, second: Tensor) -> Tensor:
    pairs = torch.stack([torch.minimum(first, second), torch.maximum(first, second)], 1)
    unique: Tensor = torch.unique(pairs, dim=0)
    return unique


def _check(f: Tensor, labels: Tensor, selection: str) -> None:
    if f.ndim != 2 or labels.shape != f.shape[:1]:
        raise ShapeError(f"expected f (B,D) and labels (B,), got {tuple(f.shape)} and {tuple(labels.shape)}")
    if selection not in get_args(Selection):
        raise ConfigError(f"unknown selection {selection!r}: choose {', '.join(get_args(Selection))}")
