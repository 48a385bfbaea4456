"""From features to where the object is: one map for each class, by similarity attention or by matching.

A locator knows nothing of files and pixels: it gets features and what is known on their grid, and gives maps in
[0, 1] that seeds are made of. Everything about one class's supports that doesn't depend on the query is done once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.matching.appearance import Past
from fewshot_seg.matching.features import Features
from fewshot_seg.matching.rounds import Prior
from fewshot_seg.prompts.constraints import Constraints, prior_on_grid


class Example(NamedTuple):
    """A support, encoded."""

    features: Features
    constraints: Constraints | None = None  # what is known of its object
    close: Example | None = None  # the same, of the part of the image around the object, where that is known


class EncodedQuery(NamedTuple):
    """A query, encoded."""

    features: Features
    constraints: tuple[Constraints | None, ...]  # what is known of each class's object
    past: tuple[Past | None, ...] = ()  # what earlier frames say of each; empty for a query that stands alone


class Located(NamedTuple):
    """Where a query shows the N classes.

    Attributes:
        maps: (N,h,w) float32 in [0, 1].
        scores: (N,) float32 in [0, 1]: how sure it is that each class is there.
        probabilistic: whether maps are probabilities, that add up to at most 1 over classes; attention is only scaled.
        shots: each class's shots' foreground (K,h,w) in [0, 1] as it was taken, where the locator knows it.
        meanings: of each class, how far it was looked for as this very thing, in [0, 1], not as a kind of thing.
    """

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    probabilistic: bool
    shots: tuple[Tensor, ...] = ()
    meanings: tuple[float, ...] = ()


class Locator(Protocol):
    """One way from supports and a query to maps."""

    def prepare(self, classes: Sequence[Sequence[Example]]) -> Any:
        """What is to be known of N classes' shots, once for any number of queries."""

    def locate(self, query: EncodedQuery, prepared: Any) -> Located:
        """Where one query shows them."""


def to_numpy(maps: Tensor) -> NDArray[np.float32]:
    """A tensor's values on the CPU."""
    return np.asarray(maps.float().cpu().numpy())


def joint(logits: Tensor) -> NDArray[np.float32]:
    """Logits (N,h,w) of each class against none of them -> probabilities (N,h,w): one softmax with background."""
    return to_numpy(torch.softmax(torch.cat([torch.zeros_like(logits[:1]), logits]), 0)[1:])


def prior_of(constraints: Sequence[Constraints | None], like: Tensor) -> Prior | None:
    """What is known of B images on the grid of `like` (B,h,w); None where nothing is known of any."""
    if all(one is None for one in constraints):
        return None
    foreground, where = torch.zeros_like(like), torch.zeros_like(like)
    h, w = like.shape[1:]
    for place, one in enumerate(constraints):
        if one is not None:
            parts = prior_on_grid(one, (h, w))
            foreground[place], where[place] = (torch.from_numpy(part).to(like) for part in parts)
    return Prior(foreground, where)
