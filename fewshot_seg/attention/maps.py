"""Similarity attention (paper, section 2.1): which regions of each image made the images of a tuple similar.

Two steps, both pure functions of tensors. A *weight vector* w (B,D) says which dimensions of the embedding carry
the decision (see `weighting`), and `attention_maps` brings it back to the image: with the score ``s = w.f`` of an
image, ``alpha_k = GAP(ds/dA_k)`` and ``M = ReLU(sum_k alpha_k A_k)`` (equation 1). The same w serves every image of
its tuple; `tuple_maps` gives them all in one call. `similarity_maps` is every variant by its name.

Shapes: B images or tuples, D dimensions of the embedding, C channels and h x w positions of the feature map, K shots,
L classes of the backbone's own classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from fewshot_seg.attention.evidence import class_shares
from fewshot_seg.attention.weighting import shot_weights
from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.network.embedding import Embedding
from fewshot_seg.network.heads import Head

if TYPE_CHECKING:
    from torch import nn

    from fewshot_seg.network.embedding import Embedder

Method = Literal["auto", "closed_form", "autograd"]
Variant = Literal["paper", "overlap", "contributions", "grad-cam", "class-evidence"]

EVIDENCE_TEMPERATURE: Final = 2.0
"""Of the softmax over the backbone's classes: what an image shows is rarely one class alone."""

NORM_EPS = 1e-12
"""Norms below this count as this, as in `torch.nn.functional.normalize`."""


class Shots(NamedTuple):
    """What K examples of one class show; the same for all images, or others for each of B (then with B in front)."""

    vectors: Tensor  # (K,D) or (B,K,D) unit-norm embeddings
    means: Tensor  # (K,C) or (B,K,C) means of their feature maps


def shots_of(embedder: Embedder, emb: Embedding, foreground: Tensor | None = None) -> Shots:
    """What K examples show, or what a part of each of them shows.

    Args:
        embedder: its head makes the vectors of parts.
        emb: of the examples: feature_map (K,C,h,w), vector (K,D).
        foreground: (K,h,w) in [0, 1], the part that counts; None means the whole image. ShapeError for another shape.
    """
    feature_map = emb.feature_map
    if foreground is None:
        return Shots(emb.vector, feature_map.mean((2, 3)))
    if foreground.shape != (feature_map.shape[0], *feature_map.shape[2:]):
        raise ShapeError(f"foreground {tuple(foreground.shape)} doesn't belong to maps {tuple(feature_map.shape)}")
    part = feature_map * foreground[:, None]
    total = foreground.sum((1, 2)).clamp_min(NORM_EPS)[:, None]
    return Shots(embedder.head(part), part.sum((2, 3)) / total)


def similarity_maps(
    embedder: Embedder,
    emb: Embedding,
    positives: Shots,
    negatives: Sequence[Shots] = (),
    variant: Variant = "contributions",
    *,
    through_norm: bool | None = None,
    rejection: float = 0.5,
    method: Method = "auto",
) -> Tensor:
    """Where images show what the positives show, and no other class does: every variant by its name.

    - "paper", "overlap", "contributions", "grad-cam": the weight vectors of `shot_weights`, brought to the map by
      `attention_maps`. For a head without a neck that averages, "contributions" is `evidence.contributions` but for
      one factor for each image.
    - "class-evidence": the class activation maps of the classes, of those the backbone was trained on, that an image
      shares with the positives (see `evidence.class_shares`), less `rejection` times what it shares with the other
      class that shares most. Needs the backbone's classifier; the head doesn't matter.

    Args:
        embedder: its head gives the gradient; the trunk isn't run.
        emb: of B images, feature_map (B,C,h,w) and vector (B,D).
        positives: of the class that is looked for.
        negatives: of each other class.
        variant: one of the above.
        through_norm: see `attention_maps`. None means the variant's own: True for "paper" and "grad-cam", which are
            defined so, False for the others.
        rejection: how much the other classes take away, >= 0; "paper" has its own way.
        method: see `attention_maps`.

    Returns:
        (B,h,w), >= 0, not scaled.

    Raises:
        ShapeError: shapes that don't belong together, or a class without shots.
        ConfigError: an unknown variant or method, or an embedder that can't give what the variant needs.
    """
    if variant not in get_args(Variant):
        raise ConfigError(f"unknown attention {variant!r}: choose {', '.join(get_args(Variant))}")
    if variant == "class-evidence":
        return _class_evidence(embedder, emb.feature_map, positives, negatives, rejection)
    others = [group.vectors for group in negatives]
    w = shot_weights(emb.vector, positives.vectors, others, weighting=variant, rejection=rejection)
    through = variant in ("paper", "grad-cam") if through_norm is None else through_norm
    return attention_maps(embedder, emb, w, method, through)


def attention_maps(
    embedder: Embedder, emb: Embedding, w: Tensor, method: Method = "auto", through_norm: bool = True
) -> Tensor:
    """One attention map for each image (equation 1): ``M = ReLU(sum_k alpha_k A_k)``, w held constant.

    Args:
        embedder: its head gives the gradient; the trunk isn't run.
        emb: the images' embedding, feature_map (B,C,h,w) and vector (B,D).
        w: (B,D), one weight vector for each image.
        method: "closed_form" (no backward pass; differentiable in A, the head and w, so a training step needs
            no second-order graph), "autograd" (any head that is a module; one backward pass through the head
            alone), or "auto", the closed form where the head has one.
        through_norm: whether the gradient passes through the L2 norm, as in equation 1 to the letter. It takes
            away the mean direction; on non-negative embeddings, which share most of theirs, the map then lights
            up everything but the object. False counts the norm as a constant.

    Returns:
        (B,h,w), >= 0, not scaled (see `scale_maps`), on the feature map's device and with its dtype.

    Raises:
        ShapeError: shapes that don't belong together.
        ConfigError: an unknown method; no closed form for this head; or `through_norm=False` with a head that
            doesn't say what it was before the norm (see `fewshot_seg.network.heads.Head`).
    """
    feature_map = emb.feature_map
    if feature_map.ndim != 4:
        raise ShapeError(f"expected a feature map of shape (B,C,h,w), got {tuple(feature_map.shape)}")
    if w.ndim != 2 or w.shape != emb.vector.shape or w.shape[0] != feature_map.shape[0]:
        raise ShapeError(
            f"expected w of the embedding's shape {tuple(emb.vector.shape)} for {feature_map.shape[0]} maps, "
            f"got {tuple(w.shape)}"
        )
    head = embedder.head
    if method not in get_args(Method):
        raise ConfigError(f"unknown method {method!r}: choose {', '.join(get_args(Method))}")
    if method != "autograd" and isinstance(head, Head) and head.has_closed_form:
        alpha = _closed_form(head, feature_map, w, through_norm)
    elif method == "closed_form":
        raise ConfigError(
            f"{type(head).__name__} has no closed form (another module, or batch norm in training mode): "
            "use method='autograd'"
        )
    else:
        alpha = _autograd(head, feature_map, w, through_norm)
    return torch.einsum("bc,bchw->bhw", alpha.to(feature_map.dtype), feature_map).relu()


def tuple_maps(
    embedder: Embedder, tuples: Sequence[Embedding], w: Tensor, method: Method = "auto", through_norm: bool = True
) -> tuple[Tensor, ...]:
    """Maps of every image of B tuples, in one call: 2 images for a pair, 3 for a triplet, 4 for a quadruplet.

    Args:
        embedder: as in `attention_maps`.
        tuples: the embeddings of the tuples' first images, second images and so on, each with feature_map
            (B,C,h,w) and vector (B,D). ShapeError where there are none, or of different shapes.
        w: (B,D), one weight vector for each tuple.
        method: as in `attention_maps`.
        through_norm: as in `attention_maps`.

    Returns:
        As many (B,h,w) maps as `tuples` has entries.
    """
    if not tuples or any(e.feature_map.shape != tuples[0].feature_map.shape for e in tuples):
        raise ShapeError(f"expected feature maps of one shape, got {[tuple(e.feature_map.shape) for e in tuples]}")
    maps = attention_maps(embedder, Embedding.joined(tuples), w.repeat(len(tuples), 1), method, through_norm)
    return maps.chunk(len(tuples))


def scale_maps(maps: Tensor) -> Tensor:
    """Each map (B,h,w) >= 0 divided by its largest value, so that it lies in [0, 1]; a map of zeros stays zeros.

    Raises:
        ShapeError: not (B,h,w).
    """
    if maps.ndim != 3:
        raise ShapeError(f"expected maps of shape (B,h,w), got {tuple(maps.shape)}")
    peak = maps.amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(peak > 0, peak, torch.ones_like(peak))


def _class_evidence(
    embedder: Embedder, feature_map: Tensor, positives: Shots, negatives: Sequence[Shots], rejection: float
) -> Tensor:
    """(B,h,w) >= 0; see `similarity_maps`."""
    if embedder.classifier is None:
        raise ConfigError(
            "this embedder keeps no classifier, which class evidence needs: choose another attention, "
            "or one of the networks default, lite0, lite1, paper"
        )
    classifier = embedder.classifier.weight  # (L,C)
    own = feature_map.mean((2, 3))  # (B,C)
    shares = [
        class_shares(classifier, own, group.means.mean(-2).expand_as(own), EVIDENCE_TEMPERATURE)
        for group in (positives, *negatives)
    ]  # (B,L) each
    chosen = shares[0]
    if negatives:
        chosen = chosen - rejection * torch.stack(shares[1:]).amax(0)
    return torch.einsum("bc,bchw->bhw", chosen @ classifier, feature_map).relu()


def _closed_form(head: Head, feature_map: Tensor, w: Tensor, through_norm: bool) -> Tensor:
    """``alpha = W^T (w - (w.f) f) / ||z|| * c`` (B,C); without the norm's gradient ``W^T w / ||z|| * c``."""
    z = head.project(feature_map)  # (B,D)
    norm = z.norm(dim=1, keepdim=True).clamp_min(NORM_EPS)
    u = w.to(z.dtype)
    if through_norm:
        f = z / norm
        u = u - (u * f).sum(1, keepdim=True) * f
    return head.averaged_gradient(feature_map, u / norm)


def _autograd(head: nn.Module, feature_map: Tensor, w: Tensor, through_norm: bool) -> Tensor:
    """alpha (B,C) by one backward pass through the head; differentiable itself where the feature map is."""
    if not through_norm and not isinstance(head, Head):
        raise ConfigError(
            f"through_norm=False needs a head with `project` (a network.heads.Head), got {type(head).__name__}"
        )
    differentiable = torch.is_grad_enabled() and feature_map.requires_grad
    with torch.inference_mode(False), torch.enable_grad():
        # A view, or a leaf: w may itself depend on the feature map, and must count as a constant.
        a = feature_map.view_as(feature_map) if differentiable else feature_map.detach().clone().requires_grad_()
        constant = w.clone() if w.is_inference() else w
        if through_norm:
            f = head(a)
        else:
            assert isinstance(head, Head)
            z = head.project(a)
            f = z / z.detach().norm(dim=1, keepdim=True).clamp_min(NORM_EPS)
        score = (constant.to(f.dtype) * f).sum()
        (gradient,) = torch.autograd.grad(score, a, create_graph=differentiable)
    return gradient.mean(dim=(2, 3))
