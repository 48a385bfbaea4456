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

import torch
from torch import Tensor

from fewshot_seg.attention.maps import Shots, Variant, shots_of, similarity_maps
from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.matching.correspondence import (
    Keys,
    for_each_shot,
    join,
    of_episodes,
    of_other_shots,
    resized,
    similarities,
    unit,
)
from fewshot_seg.matching.rounds import Prior, with_prior
from fewshot_seg.network.embedding import Embedding

if TYPE_CHECKING:
    from fewshot_seg.network.embedding import Embedder

LAYERS = ("blocks.5", "blocks.6")
"""Names of the layers that are compared where the trunk gives them (`Embedder.with_layers`); else the last map is."""

_SHARPNESS = 20.0  # of the soft maximum over keys
_POWER = 0.4  # of the product of a map's three parts. The lower, the more of an object is kept, and of its surroundings
_EPS = 1e-6


class Scene(NamedTuple):
    """What is known of each of B images before anything is compared.

    What stands out is the norm of the deepest map that is compared: a network answers little to plain background.
    """

    emb: Embedding  # feature_map A (B,C,h0,w0) and vector f (B,D)
    stacked: Tensor  # (B,m,h,w), what is compared, not yet centred
    salience: Tensor  # (B,h,w) in [0, 1]: what stands out


class Negative(NamedTuple):
    """Images of something else: other classes' shots, or what the user says is not it."""

    scene: Scene  # of J images, the same for all queries
    foreground: Tensor | None = None  # (J,h,w) in [0, 1]: where they show it; None: their salience


class Located(NamedTuple):
    """Where the class is."""

    query: Tensor  # (B,h,w) in [0, 1]
    shots: Tensor  # (B,K,h,w) in [0, 1]; where the user knows, what they know


def scene_of(emb: Embedding, layers: Mapping[str, Tensor] | None = None) -> Scene:
    """What of B images `locate` reads.

    Args:
        emb: of the images.
        layers: maps (B,C_i,h_i,w_i) of earlier layers by name, those of `LAYERS`, the deepest last; none: the last
            map is compared. They are brought to the size of the finest, and each layer counts alike.
    """
    maps = list(layers.values()) if layers else [emb.feature_map]
    size = max((one.shape[2:] for one in maps), key=lambda shape: shape[0] * shape[1])
    parts = []
    for one in maps:
        typical = one.square().sum(1).mean((1, 2)).sqrt()  # (B,)
        even = one / typical.clamp_min(_EPS)[:, None, None, None]
        parts.append(resized(even, size))
    return Scene(emb, torch.cat(parts, 1), _stretched(parts[-1].norm(dim=1)))


def locate(
    embedder: Embedder,
    query: Scene,
    shots: Scene,
    negatives: Sequence[Negative] = (),
    shot_prior: Prior | None = None,
    query_prior: Prior | None = None,
    rounds: int = 2,
) -> Located:
    """Where each query shows what its shots show.

    A map is a power of the product of three, each scaled to [0, 1]: what stands out, what the images share (class
    evidence where the embedder keeps a classifier, else contributions; both are variants of
    `attention.similarity_maps`), and how much nearer a position is to the others' foreground than to their
    background (`correspondence.similarities`).

    Args:
        embedder: that the scenes are of. Its classifier gives class evidence, where it keeps one.
        query: B images.
        shots: B*K images, K to each query, in order.
        negatives: background for all queries.
        shot_prior: of the B*K shots, (B*K,h,w).
        query_prior: of the queries, (B,h,w).
        rounds: between the two, at least 1.

    Raises:
        ShapeError: shapes that don't belong together. ConfigError: no round.
    """
    b, shown = len(query.stacked), len(shots.stacked)
    if not b or not shown or shown % b:
        raise ShapeError(f"{shown} shots cannot be shared equally by {b} queries")
    if rounds < 1:
        raise ConfigError(f"rounds {rounds}: must be at least 1")
    episode = _Episode(embedder, query, shots, negatives)
    soft_query, soft_shots = with_prior(query.salience, query_prior), with_prior(shots.salience, shot_prior)
    for _ in range(rounds):
        soft_shots = with_prior(episode.of_shots(soft_query, soft_shots, shot_prior), shot_prior)
        soft_query = with_prior(episode.of_query(soft_shots, query_prior), query_prior)
    return Located(soft_query, soft_shots.view(b, -1, *soft_shots.shape[1:]))


class _Episode:
    """B queries, K shots of each, and what other classes show."""

    def __init__(self, embedder: Embedder, query: Scene, shots: Scene, negatives: Sequence[Negative]) -> None:
        self.embedder, self.query, self.shots = embedder, query, shots
        self.b, self.k = len(query.stacked), len(shots.stacked) // len(query.stacked)
        self.variant: Variant = "contributions" if embedder.classifier is None else "class-evidence"
        centre = self._centre()  # (B,m,1,1)
        self.vectors = unit(query.stacked - centre), unit(shots.stacked - centre.repeat_interleave(self.k, 0))
        seen = [(one.scene, one.scene.salience if one.foreground is None else one.foreground) for one in negatives]
        self.negatives = [self._keys_of_negative(*one, centre) for one in seen]
        self.shown_by_negatives = [_shown(embedder, *one) for one in seen]

    def of_shots(self, soft_query: Tensor, soft_shots: Tensor, prior: Prior | None) -> Tensor:
        """(B*K,h,w): where each shot shows what its query and the other shots show."""
        asked = _shown(self.embedder, self.query, soft_query)
        own = _shown(self.embedder, self.shots, soft_shots)
        partners = Shots(*(self._partners(*pair) for pair in zip(asked, own, strict=True)))
        keys = for_each_shot(_keys(self.vectors[0], soft_query), self.k)
        others = of_other_shots(_keys(self.vectors[1], soft_shots), self.k)
        return self._combined(1, partners, [keys, *others], prior)

    def of_query(self, soft_shots: Tensor, prior: Prior | None) -> Tensor:
        """(B,h,w): where each query shows what its shots show."""
        shown = Shots(*(part.view(self.b, self.k, -1) for part in _shown(self.embedder, self.shots, soft_shots)))
        keys = of_episodes(_keys(self.vectors[1], soft_shots), self.b)
        return self._combined(0, shown, [keys, *self.negatives], prior)

    def _combined(self, which: int, shown: Shots, keys: list[Keys], prior: Prior | None) -> Tensor:
        """What stands out, what is shared, and what the keys say, as one map."""
        scene, vectors = (self.query, self.shots)[which], self.vectors[which]
        if prior is not None:
            keys = [*keys, _keys(vectors, prior.foreground, prior.where)]
        alike = similarities(vectors, join(*keys), _SHARPNESS)[:, 0]
        shown_by_negatives = self.shown_by_negatives if which == 0 else []
        shared = similarity_maps(self.embedder, scene.emb, shown, shown_by_negatives, self.variant)
        parts = _stretched(alike), _stretched(resized(shared[:, None], alike.shape[1:])[:, 0])
        return _stretched((scene.salience * parts[0] * parts[1]) ** _POWER)

    def _centre(self) -> Tensor:
        """(B,m,1,1): the mean position of each episode's images."""
        own = self.shots.stacked.mean((2, 3)).view(self.b, self.k, -1).sum(1)
        return ((self.query.stacked.mean((2, 3)) + own) / (self.k + 1))[:, :, None, None]

    def _partners(self, asked: Tensor, own: Tensor) -> Tensor:
        """(B*K,K,D): the query (B,D), and the other shots (B*K,D)."""
        turns = [torch.roll(own.view(self.b, self.k, -1), -step, 1).flatten(0, 1) for step in range(1, self.k)]
        return torch.stack([asked.repeat_interleave(self.k, 0), *turns], 1)

    def _keys_of_negative(self, scene: Scene, foreground: Tensor, centre: Tensor) -> Keys:
        """What another class's J images show, as background for all queries: (B,m,J*n)."""
        stacked = scene.stacked.transpose(0, 1).flatten(1)[None, :, :]  # (1,m,J*n)
        background = foreground.reshape(1, -1).expand(self.b, -1)
        return Keys(unit(stacked - centre[:, :, :, 0]), torch.zeros_like(background), background)


def _keys(vectors: Tensor, foreground: Tensor, counts: Tensor | None = None) -> Keys:
    """Every position of B images as a key, as much as it counts (fully, if not said)."""
    weights = torch.stack([foreground, 1 - foreground], 1) * (1 if counts is None else counts[:, None])
    near, far = weights.flatten(2).unbind(1)
    return Keys(vectors.flatten(2), near, far)


def _shown(embedder: Embedder, scene: Scene, soft: Tensor) -> Shots:
    """What images show within a soft foreground (B,h,w)."""
    return shots_of(embedder, scene.emb, resized(soft[:, None], scene.emb.feature_map.shape[2:])[:, 0])


def _stretched(maps: Tensor) -> Tensor:
    """Each map (B,h,w) stretched to [0, 1]; one without differences becomes zeros."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(_EPS)
