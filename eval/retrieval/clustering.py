"""Normalised mutual information between the classes and a k-means clustering of the vectors.

Clusters are as many as classes. They are k-means': seeded by k-means++ (Arthur and Vassilvitskii, SODA 2007) and
improved by Lloyd's iterations until no vector changes its cluster, or `ITERATIONS` of them. NMI is the mutual
information over the mean of the two entropies, scikit-learn's default. That library isn't asked: it would be a
dependency for one figure, and works on the CPU alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.streams import Track, untracked

ITERATIONS = 50
CELLS = 2**24  # distances at once: 64 MB


def k_means(x: Tensor, k: int, *, seed: int = 0, iterations: int = ITERATIONS, track: Track = untracked) -> Tensor:
    """The cluster (N,) int64 of each vector.

    Args:
        x: (N,D) floating point.
        k: clusters, 1 to N.
        seed: of the first centres. Same seed, same clusters.
        iterations: at most so many.
        track: shows progress.

    Raises:
        ShapeError: not (N,D). ConfigError: k below 1 or above N.
    """
    if x.ndim != 2:
        raise ShapeError(f"expected vectors (N,D), got {tuple(x.shape)}")
    if not 1 <= k <= len(x):
        raise ConfigError(f"k-means of {len(x)} vectors: clusters must be 1 to {len(x)}, not {k}")
    centres = seed_centres(x, k, seed, track)
    clusters = assign(x, centres)
    for _ in track(range(iterations), iterations, "clustering"):
        centres = _means(x, clusters, centres)
        before, clusters = clusters, assign(x, centres)
        if torch.equal(before, clusters):
            break
    return clusters


def seed_centres(x: Tensor, k: int, seed: int, track: Track = untracked) -> Tensor:
    """k-means++: (k,D) of the vectors, each drawn with a chance that grows with the square of its distance."""
    draws = np.random.Generator(np.random.Philox(key=seed)).random(k)
    chosen = [int(draws[0] * len(x))]
    squares = x.square().sum(1)
    nearest = torch.full((len(x),), torch.inf, device=x.device)
    for draw in track(draws[1:], k - 1, "seeding clusters"):
        away = squares + squares[chosen[-1]] - 2 * (x @ x[chosen[-1]])
        nearest = torch.minimum(nearest, away.clamp_min(0))
        sums = nearest.cpu().double().cumsum(0)
        # Where all that is left are doubles of centres, all sums are 0, and any vector does.
        chosen.append(min(int(torch.searchsorted(sums, draw * sums[-1], right=True)), len(x) - 1))
    return x[chosen]


def assign(x: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre (N,) int64 of each vector; of equally near ones the first."""
    half = centres.square().sum(1) / 2  # (k,)
    parts = torch.split(x, max(1, CELLS // len(centres)))
    # |x - c|^2 / 2 without |x|^2 / 2, which is the same for all centres
    return torch.cat([(half - part @ centres.T).argmin(1) for part in parts])


def _means(x: Tensor, clusters: Tensor, before: Tensor) -> Tensor:
    """Each cluster's mean (k,D); one that has lost all its vectors stays where it was."""
    counts = clusters.bincount(minlength=len(before))
    sums = torch.zeros_like(before).index_add_(0, clusters, x)
    return torch.where((counts > 0)[:, None], sums / counts.clamp_min(1)[:, None], before)


def normalized_mutual_information(first: Tensor, second: Tensor) -> float:
    """How much two labellings (N,) of the same things say of each other, in [0, 1], whatever the labels' names.

    Two labellings that both put everything into one group say all of each other: 1.

    Raises:
        ShapeError: two lengths, or none.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ShapeError(f"expected two labellings of the same things, got {tuple(first.shape)}, {tuple(second.shape)}")
    a = _numbered(first)
    b = _numbered(second)
    width = int(b.max()) + 1
    joint = (a * width + b).bincount().double()
    both, one, other = (_entropy(counts) for counts in (joint, a.bincount().double(), b.bincount().double()))
    if one + other == 0:
        return 1.0
    return min(1.0, max(0.0, 2 * (one + other - both) / (one + other)))


def _numbered(labels: Tensor) -> Tensor:
    """The labels as numbers from 0, none left out."""
    found: Tensor = torch.unique(labels.cpu(), return_inverse=True)[1]
    return found


def _entropy(counts: Tensor) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * shares.log()).sum())
