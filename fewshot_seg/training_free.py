"""Correspondence without training: where a query shows what its supports show, for any embedder.

The way for backbones that no matcher was trained for, and the training-free row of every comparison. A support comes
without a mask, so its own similarity attention is its soft foreground. Positions of the query are compared with those
of the supports, forward and backward, for some rounds; with several supports each is compared with the others, too,
so that what only one of them shows loses weight. What the user knows is put in place of the guess.

Shapes: B queries, K shots of each, C channels of the last map, m channels of what is compared, h x w positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from fewshot_seg.embedding import Embedding
from fewshot_seg.matching import Known

if TYPE_CHECKING:
    from fewshot_seg.embedding import Embedder

__all__ = ["LAYERS", "Located", "Rival", "Scene", "locate", "scene_of"]

LAYERS = ("blocks.4", "blocks.5")
"""Names of the layers that are compared where the trunk gives them (`Embedder.with_layers`); else the last map is."""


class Scene(NamedTuple):
    """What is known of each of B images before anything is compared.

    Attributes:
        emb: feature_map A (B,C,h0,w0) and vector f (B,D).
        stacked: (B,m,h,w), what is compared, not yet centred.
    """

    emb: Embedding
    stacked: Tensor

    def pick(self, index: Tensor | slice) -> Scene:
        """The scenes of some of the images."""
        return Scene(Embedding(self.emb.feature_map[index], self.emb.vector[index]), self.stacked[index])


class Rival(NamedTuple):
    """Images of something else: other classes' shots, or what the user says is not it.

    Attributes:
        scene: of J images, the same for all queries.
        foreground: (J,h,w) in [0, 1]: where they show it; None: they show nothing that is looked for anywhere.
    """

    scene: Scene
    foreground: Tensor | None = None


class Located(NamedTuple):
    """Where the class is.

    Attributes:
        query: (B,h,w) in [0, 1].
        shots: (B,K,h,w) in [0, 1]; where the user knows, what they know.
    """

    query: Tensor
    shots: Tensor


def scene_of(emb: Embedding, layers: Mapping[str, Tensor] | None = None) -> Scene:
    """What of B images `locate` reads.

    Args:
        emb: of the images.
        layers: maps (B,C_i,h_i,w_i) of earlier layers by name, those of `LAYERS`; none: the last map is compared.
    """
    raise NotImplementedError


def locate(
    embedder: Embedder,
    query: Scene,
    shots: Scene,
    rivals: Sequence[Rival] = (),
    known_shots: Known | None = None,
    known_query: Known | None = None,
    rounds: int = 2,
) -> Located:
    """Where each query shows what its shots show.

    Args:
        embedder: that the scenes are of. Its classifier gives class evidence, where it keeps one.
        query: B images.
        shots: B*K images, K to each query, in order.
        rivals: background for all queries.
        known_shots: of the B*K shots, (B*K,h,w).
        known_query: of the queries, (B,h,w).
        rounds: between the two, at least 1.
    """
    raise NotImplementedError
