"""Similarity mining (paper, section 2.2 and equations 2 and 3): what is left of a decision without its best evidence.

The attention maps of a tuple say which regions made it similar. These are erased, and the loss L_sm of the erased
images makes the embedding look further: `mining_loss` has it whole, the functions before it are its parts. Where the
same tuple without mining needs one forward and one backward pass of the batch, mining needs one more of each.

Shapes: B images of a batch, 3 x H x W; maps h x w; T tuples of 2 (pair), 3 (triplet) or 4 (quadruplet) images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import Weighting, pair_weights, quadruplet_weights, shot_weights, triplet_weights
from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.embedder import Embedder, Embedding
from train_embed.config.loss_schema import TupleKind
from train_embed.mining.erasing import erased_loss, soft_mask
from train_embed.mining.tuples import TUPLE_SIZES, check_tuples


@dataclass(frozen=True)
class MiningOptions:
    """How L_sm is made; γ, its warm-up and how often are the trainer's.

    Attributes:
        kind: "pair", "triplet" or "quadruplet".
        alpha: slope of the soft mask at its threshold, > 0.
        beta: threshold of the soft mask, in [0, 1], on maps scaled to [0, 1].
        detach_weights: the weight vector w counts as a constant, as in equation 1.
        detach_maps: no gradient through the maps at all; L_sm then trains through the erased images alone.
        through_norm: see `fewshot_seg.attention.maps.attention_maps`.
        weighting: "paper" or "overlap" (`fewshot_seg.attention.maps.shot_weights`).

    Raises:
        ConfigError: a value out of range.
    """

    kind: TupleKind = "triplet"
    alpha: float = 10.0
    beta: float = 0.5
    detach_weights: bool = True
    detach_maps: bool = False
    through_norm: bool = True
    weighting: Weighting = "paper"

    def __post_init__(self) -> None:
        if self.kind not in TUPLE_SIZES:
            raise ConfigError(f"unknown kind of tuple {self.kind!r}: choose {', '.join(TUPLE_SIZES)}")
        if self.weighting not in get_args(Weighting):
            raise ConfigError(f"unknown weighting {self.weighting!r}: choose {', '.join(get_args(Weighting))}")
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(f"mining alpha must be above 0, got {self.alpha}")
        if not 0 <= self.beta <= 1:
            raise ConfigError(f"mining beta must be 0 to 1, got {self.beta}")


def tuple_attention(embedder: Embedder, emb: Embedding, tuples: Tensor, options: MiningOptions) -> Tensor:
    """The attention maps of every image of every tuple, by the closed form where the head has one.

    A batch norm in the head takes its running statistics for this, as it does once training is over: the closed form
    holds then, and the batch's statistics aren't counted twice.

    Args:
        embedder: its head gives the gradient; the trunk isn't run.
        emb: of the batch, feature_map (B,C,h,w) and vector (B,D).
        tuples: (T,size) int64 indices into the batch.
        options: kind, weighting, through_norm, and what is detached.

    Returns:
        (size * T,h,w), >= 0, not scaled: all first images, then all second ones and so on.

    Raises:
        ShapeError: tuples of another size than the kind's.
    """
    check_tuples(tuples, options.kind)
    if options.detach_maps:
        emb = Embedding(*(t.detach() for t in emb))
    f = [emb.vector[tuples[:, i]] for i in range(tuples.shape[1])]  # size x (T,D)
    w = _weights(f, options.weighting)
    w = w.detach() if options.detach_weights else w
    rows = tuples.t().reshape(-1)
    part = Embedding(emb.feature_map[rows], torch.cat(f))
    return head_maps(embedder, part, w.repeat(len(f), 1), options.through_norm, options.detach_maps)


def head_maps(embedder: Embedder, emb: Embedding, w: Tensor, through_norm: bool, detach: bool) -> Tensor:
    """`fewshot_seg.attention.maps.attention_maps` (B,h,w) with the head in eval mode; without a graph if `detach`."""
    modes = [(module, module.training) for module in embedder.head.modules()]
    embedder.head.eval()
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
            return attention_maps(embedder, emb, w, through_norm=through_norm)
    finally:
        for module, training in modes:
            module.training = training


def mining_loss(
    embedder: Embedder, images: Tensor, emb: Embedding, tuples: Tensor, options: MiningOptions = MiningOptions()
) -> Tensor:
    """L_sm of a batch: attention, erasing, one more forward pass, and equation 2 or a sibling of it.

    Under DDP, pass the module inside (`ddp.module`): the hooks that average gradients are on its parameters. The mean
    over ranks is the mean over all tuples where each rank has as many.

    Args:
        embedder: the one that made `emb`, with its graph.
        images: (B,3,H,W), normalised.
        emb: of these images.
        tuples: (T,size) int64 indices into the batch, see `mining_tuples`. T = 0 costs nothing and gives 0.
        options: see `MiningOptions`.

    Returns:
        A scalar: mean over the tuples.

    Raises:
        ShapeError: tuples of another size than the kind's.
    """
    check_tuples(tuples, options.kind)
    if not len(tuples):
        return emb.vector[:0].sum()
    erased = erase_tuples(images, tuples, tuple_attention(embedder, emb, tuples, options), options)
    return erased_loss(embedder(erased).vector, tuples.shape[1])


@torch.inference_mode()
def erased_similarities(
    embedder: Embedder, images: Tensor, tuples: Tensor, options: MiningOptions = MiningOptions()
) -> Tensor:
    """Cosines of the anchor with each other image of its tuple, before and after erasing.

    Args:
        embedder: in eval mode.
        images: (B,3,H,W), normalised.
        tuples: (T,size) int64 indices into the batch.
        options: as in `mining_loss`. To compare two embedders, give both the same.

    Returns:
        (T,size-1,2) float64, on the CPU; the positive comes first. Batches' results concatenate.

    Raises:
        ShapeError: tuples of another size than the kind's.
    """
    check_tuples(tuples, options.kind)
    if not len(tuples):
        return torch.zeros(0, tuples.shape[1] - 1, 2, dtype=torch.float64)
    emb = embedder(images)
    erased = erase_tuples(images, tuples, tuple_attention(embedder, emb, tuples, options), options)
    found = []
    for vectors in (emb.vector[tuples.t().reshape(-1)], embedder(erased).vector):
        parts = torch.stack(vectors.chunk(tuples.shape[1]), 1).double()  # (T,size,D)
        found.append(torch.einsum("td,tsd->ts", parts[:, 0], parts[:, 1:]).cpu())
    return torch.stack(found, 2)


def similarity_survival(similarities: Tensor) -> float:
    """The share of similarity that survives erasing: mean ``cos(fa*, fp*)`` over mean ``cos(fa, fp)``.

    A ratio of means, not the mean of ratios: one pair that was hardly similar would drown all the others. 1: erasing
    changed nothing; 0: no similarity is left; below 0: the erased images point away from each other.

    Args:
        similarities: (T,2), before and after, as of one image in `erased_similarities`.

    Returns:
        The share; NaN where there are no tuples, or no similarity that could survive (a mean of 0 or less).

    Raises:
        ShapeError: not (T,2).
    """
    if similarities.ndim != 2 or similarities.shape[1] != 2:
        raise ShapeError(f"expected similarities of shape (T,2), got {tuple(similarities.shape)}")
    if not len(similarities):
        return float("nan")
    before, after = similarities.double().contiguous().mean(0).tolist()
    return after / before if before > 0 else float("nan")


def _weights(f: list[Tensor], weighting: Weighting) -> Tensor:
    """(T,D): of a tuple's embeddings, the first two of the same class."""
    if weighting == "overlap":
        return shot_weights(f[0], f[1][:, None], [n[:, None] for n in f[2:]], weighting="overlap")
    if len(f) == 2:
        return pair_weights(f[0], f[1], same=True)
    return triplet_weights(*f) if len(f) == 3 else quadruplet_weights(*f)


def erase_tuples(images: Tensor, tuples: Tensor, maps: Tensor, options: MiningOptions) -> Tensor:
    """The tuples' images (size * T,3,H,W), each erased by its own map (size * T,h,w)."""
    images = images.to(maps.device)
    return soft_mask(images[tuples.t().reshape(-1)], maps, options.alpha, options.beta)
