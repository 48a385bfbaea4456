"""How sure a figure is: its bootstrap over query images, and whether two runs differ by more than chance.

Episodes of one query are not independent, so queries are drawn, each with all of its episodes (a cluster
bootstrap; Efron and Tibshirani, 1993). The draws are raw bits of a counter-based generator, which are the same
in every version of numpy, and sums of pixels are exact, so that the same run has the same intervals everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.measures.metrics import Tally

SAMPLES = 1000
LEVEL = 0.95

_CELLS = 2_000_000  # weights held at a time

Shares = NDArray[np.float64]


def fold_seed(fold: int | str) -> int:
    """The bootstrap's seed for a fold: other draws for each, so that folds are resampled independently."""
    return 0 if fold == "all" else int(fold) + 1


def number_groups(names: Sequence[Hashable]) -> NDArray[np.int64]:
    """(E,) int64: the same number for the same name, counted from 0 in the order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def group_sums(part: NDArray[np.generic], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """(E, K) values of episodes to (G, K) sums of groups; `groups` as `number_groups` gives them."""
    sums = np.zeros((int(groups.max(initial=-1)) + 1, part.shape[1]))
    np.add.at(sums, groups, part)
    return sums


def resample(values: NDArray[np.float64], samples: int, seed: int) -> NDArray[np.float64]:
    """Sums over G groups drawn with replacement, G at a time.

    Args:
        values: (G, K).
        samples: B, how many times.
        seed: 0 to 2^63 - 1. The same seed draws the same groups, whatever the values are.

    Returns:
        (B, K).
    """
    drawn = [weights.astype(np.float64) @ values for weights in draws(len(values), samples, seed)]
    return np.concatenate(drawn) if drawn else np.zeros((0, values.shape[1]))


def resample_tally(tally: Tally, groups: NDArray[np.int64], samples: int, seed: int) -> Tally:
    """The tallies (B, ...) of `samples` resamples of the groups' episodes; see `resample`."""
    widths = np.cumsum([part.shape[1] for part in tally])[:-1]
    sums = resample(group_sums(np.concatenate(tally, axis=1), groups), samples, seed)
    return Tally(*np.split(sums, widths, axis=1))


def interval(drawn: Shares, level: float = LEVEL) -> list[float] | None:
    """[low, high] of the middle `level` of resampled figures (B,); None where fewer than two are defined."""
    there = drawn[~np.isnan(drawn)]
    if there.size < 2:
        return None
    low, high = np.quantile(there, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]


def p_value(differences: Shares) -> float | None:
    """Two-sided, for "there is no difference": twice the share of resamples on the other side of 0.

    The figure itself counts as one resample, so that it is never 0: B resamples tell no p below 2 / (B + 1).
    """
    there = differences[~np.isnan(differences)]
    if not there.size:
        return None
    tail = min(int((there <= 0).sum()), int((there >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (there.size + 1))


def draws(groups: int, samples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """(b, G) how often each of G groups is drawn, G at a time: b rows at a time, B rows altogether."""
    bits = np.random.Philox(key=seed)
    step = max(1, _CELLS // max(groups, 1))
    for start in range(0, samples if groups else 0, step):
        rows = min(step, samples - start)
        places = (bits.random_raw(rows * groups) % np.uint64(groups)).astype(np.int64)
        places += np.repeat(np.arange(rows) * groups, groups)
        yield np.bincount(places, minlength=rows * groups).reshape(rows, groups)
