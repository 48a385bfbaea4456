"""Similarity mining, the paper's sections 2.2 and 2.3: attention is erased, and what is left must still decide."""

from train_embed.config.loss_schema import TupleKind
from train_embed.mining.erasing import (
    erased_loss,
    pair_mining_loss,
    quadruplet_mining_loss,
    soft_mask,
    triplet_mining_loss,
)
from train_embed.mining.similarity import (
    MiningOptions,
    erased_similarities,
    mining_loss,
    similarity_survival,
    tuple_attention,
)
from train_embed.mining.tuples import TUPLE_SIZES, mining_tuples

__all__ = [
    "TUPLE_SIZES",
    "MiningOptions",
    "TupleKind",
    "erased_loss",
    "erased_similarities",
    "mining_loss",
    "mining_tuples",
    "pair_mining_loss",
    "quadruplet_mining_loss",
    "similarity_survival",
    "soft_mask",
    "triplet_mining_loss",
    "tuple_attention",
]
