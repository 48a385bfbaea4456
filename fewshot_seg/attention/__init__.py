"""Similarity attention, the paper's section 2.1: pure functions of feature maps and embeddings."""

from fewshot_seg.attention.maps import (
    Method,
    Shots,
    Variant,
    attention_maps,
    scale_maps,
    shots_of,
    similarity_maps,
    tuple_maps,
)
from fewshot_seg.attention.weighting import Weighting, pair_weights, quadruplet_weights, shot_weights, triplet_weights

__all__ = [
    "Method",
    "Shots",
    "Variant",
    "Weighting",
    "attention_maps",
    "pair_weights",
    "quadruplet_weights",
    "scale_maps",
    "shot_weights",
    "shots_of",
    "similarity_maps",
    "triplet_weights",
    "tuple_maps",
]
