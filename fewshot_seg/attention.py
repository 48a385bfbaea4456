"""Similarity attention (paper, section 2.1): which regions of each image made the images of a tuple similar.

Two steps, both pure functions of tensors. A *weight vector* w (B,D) says which dimensions of the embedding carry
the decision, and `attention_maps` brings it back to the image: with the score ``s = w.f`` of an image,
``alpha_k = GAP(ds/dA_k)`` and ``M = ReLU(sum_k alpha_k A_k)`` (equation 1). The same w serves every image of its
tuple; `tuple_maps` gives them all in one call.

Shapes: B tuples, D dimensions of the embedding, C channels and h x w positions of the feature map, K shots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from fewshot_seg.embedding import Embedding
from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.heads import Head, PooledHead

if TYPE_CHECKING:
    from torch import nn

    from fewshot_seg.embedding import Embedder

Method = Literal["auto", "closed_form", "autograd"]
Weighting = Literal["overlap", "paper"]

NORM_EPS = 1e-12
"""Norms below this count as this, as in `torch.nn.functional.normalize`."""


def pair_weights(f1: Tensor, f2: Tensor, same: bool | Tensor = True) -> Tensor:
    """Weights of a Siamese pair: ``1 - |f1 - f2|`` for the same class, ``|f1 - f2|`` for different ones.

    Args:
        f1: (B,D) unit-norm embeddings of the first images.
        f2: (B,D) of the second.
        same: one bool for the whole batch, or a bool tensor (B,).

    Returns:
        w (B,D), within [0, 1] for non-negative embeddings and [-1, 2] for signed ones.

    Raises:
        ShapeError: the embeddings differ in shape or aren't (B,D), or `same` isn't (B,).
    """
    _check_vectors(f1, f2)
    difference = (f1 - f2).abs()
    if isinstance(same, bool):
        return 1 - difference if same else difference
    if same.shape != f1.shape[:1] or same.dtype != torch.bool:
        raise ShapeError(
            f"`same` must be a bool tensor of shape ({f1.shape[0]},), got {tuple(same.shape)} {same.dtype}"
        )
    return torch.where(same[:, None], 1 - difference, difference)


def triplet_weights(fa: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    """Weights of a triplet, ``(1 - |fa - fp|) * |fa - fn|``: shared with the positive, not with the negative.

    Args:
        fa: (B,D) unit-norm embeddings of the anchors.
        fp: (B,D) of the positives.
        fn: (B,D) of the negatives.

    Returns:
        w (B,D).

    Raises:
        ShapeError: the embeddings differ in shape or aren't (B,D).
    """
    _check_vectors(fa, fp, fn)
    return (1 - (fa - fp).abs()) * (fa - fn).abs()


def quadruplet_weights(fa: Tensor, fp: Tensor, fn1: Tensor, fn2: Tensor) -> Tensor:
    """Weights of a quadruplet, ``(1 - |fa - fp|) * |fa - fn1| * |fa - fn2|``.

    Args:
        fa: (B,D) unit-norm embeddings of the anchors.
        fp: (B,D) of the positives.
        fn1: (B,D) of the first negatives.
        fn2: (B,D) of the second, of a third class.

    Returns:
        w (B,D).

    Raises:
        ShapeError: the embeddings differ in shape or aren't (B,D).
    """
    _check_vectors(fa, fp, fn1, fn2)
    return triplet_weights(fa, fp, fn1) * (fa - fn2).abs()


def shot_weights(
    anchor: Tensor,
    positives: Tensor,
    negatives: Sequence[Tensor] = (),
    *,
    weighting: Weighting = "paper",
    rejection: float = 0.5,
) -> Tensor:
    """Weights of an anchor against any number of positives, and of negatives from any number of other classes.

    **How shots are combined.** The shots of one class are *averaged*: each is a sample of the same class, so a
    dimension that most of them share counts, and one odd shot can't veto it (a product would let it). The other
    *classes* combine as the paper's tuples do: a dimension must tell the anchor's class from every one of them.
    With one positive and 0, 1 or 2 one-shot negative classes "paper" is exactly `pair_weights` (same class),
    `triplet_weights` and `quadruplet_weights`.

    **Weightings.**

    - "paper": ``mean_k(1 - |fa - fp_k|) * prod_c mean_j |fa - fn_cj|``.
    - "overlap": ``mean_k o(fa, fp_k) - rejection * max_c mean_j o(fa, fn_cj)`` (the largest by
      magnitude), where ``o(f, g)`` is the smaller of the two magnitudes, signed, where f and g agree in sign,
      and 0 elsewhere. The paper's recipe gives a dimension that is near zero in both images the full weight 1;
      here it gets none. On untrained ImageNet features, where most dimensions are near zero, that is what makes
      the maps land on the object.

    Args:
        anchor: (B,D) unit-norm embeddings.
        positives: (K,D), the same shots for all anchors, or (B,K,D).
        negatives: for each other class (K_c,D) or (B,K_c,D).
        weighting: "paper" or "overlap".
        rejection: for "overlap", how much of the nearest other class's overlap is taken away, >= 0.

    Returns:
        w (B,D).

    Raises:
        ShapeError: a shape is not as above, or a class has no shot.
        ConfigError: an unknown weighting.
    """
    shots = [_check_shots(anchor, group) for group in (positives, *negatives)]
    a = anchor[:, None]  # (B,1,D)
    if weighting == "paper":
        w = (1 - (a - shots[0]).abs()).mean(1)  # (B,D)
        for group in shots[1:]:
            w = w * (a - group).abs().mean(1)
        return w
    if weighting == "overlap":
        w = _overlap(a, shots[0]).mean(1)  # (B,D)
        if len(shots) == 1:
            return w
        rivals = torch.stack([_overlap(a, group).mean(1) for group in shots[1:]])  # (classes,B,D)
        strongest = rivals.abs().argmax(0, keepdim=True)
        return w - rejection * rivals.gather(0, strongest)[0]
    raise ConfigError(f"unknown weighting {weighting!r}: choose {', '.join(get_args(Weighting))}")


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
            doesn't say what it was before the norm (see `fewshot_seg.heads.Head`).
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
    closed_form_head = _closed_form_head(head, method)
    if closed_form_head is None:
        alpha = _autograd(head, feature_map, w, through_norm)
    else:
        alpha = _closed_form(closed_form_head, feature_map, w, through_norm)
    return torch.einsum("bc,bchw->bhw", alpha.to(feature_map.dtype), feature_map).relu()


def tuple_maps(
    embedder: Embedder,
    tuples: Sequence[Embedding],
    w: Tensor,
    method: Method = "auto",
    through_norm: bool = True,
) -> tuple[Tensor, ...]:
    """Maps of every image of B tuples, in one call: 2 images for a pair, 3 for a triplet, 4 for a quadruplet.

    Args:
        embedder: as in `attention_maps`.
        tuples: the embeddings of the tuples' first images, second images and so on, each with feature_map
            (B,C,h,w) and vector (B,D).
        w: (B,D), one weight vector for each tuple.
        method: as in `attention_maps`.
        through_norm: as in `attention_maps`.

    Returns:
        As many (B,h,w) maps as `tuples` has entries.

    Raises:
        ShapeError: no entries, or shapes that don't belong together.
        ConfigError: as in `attention_maps`.
    """
    if not tuples or any(e.feature_map.shape != tuples[0].feature_map.shape for e in tuples):
        raise ShapeError(f"expected feature maps of one shape, got {[tuple(e.feature_map.shape) for e in tuples]}")
    joined = Embedding(torch.cat([e.feature_map for e in tuples]), torch.cat([e.vector for e in tuples]))
    maps = attention_maps(embedder, joined, w.repeat(len(tuples), 1), method, through_norm)
    return maps.chunk(len(tuples))


def scale_maps(maps: Tensor) -> Tensor:
    """Each map divided by its largest value, so that it lies in [0, 1]; a map of zeros stays zeros.

    Args:
        maps: (B,h,w), >= 0.

    Returns:
        (B,h,w) in [0, 1].

    Raises:
        ShapeError: not (B,h,w).
    """
    if maps.ndim != 3:
        raise ShapeError(f"expected maps of shape (B,h,w), got {tuple(maps.shape)}")
    peak = maps.amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(peak > 0, peak, torch.ones_like(peak))


def _closed_form(head: PooledHead, feature_map: Tensor, w: Tensor, through_norm: bool) -> Tensor:
    """``alpha = W^T (w - (w.f) f) / ||z|| * c`` (B,C); without the norm's gradient ``W^T w / ||z|| * c``."""
    z = head.project(feature_map)  # (B,D)
    norm = z.norm(dim=1, keepdim=True).clamp_min(NORM_EPS)
    u = w.to(z.dtype)
    if through_norm:
        f = z / norm
        u = u - (u * f).sum(1, keepdim=True) * f
    return head.pullback(u / norm) * head.pooling_slope(feature_map)


def _autograd(head: nn.Module, feature_map: Tensor, w: Tensor, through_norm: bool) -> Tensor:
    """alpha (B,C) by one backward pass through the head; differentiable itself where the feature map is."""
    if not through_norm and not isinstance(head, Head):
        raise ConfigError(
            f"through_norm=False needs a head with `project` (a fewshot_seg.heads.Head), got {type(head).__name__}"
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


def _closed_form_head(head: nn.Module, method: Method) -> PooledHead | None:
    """The head, if the closed form is to be used with it."""
    if method not in get_args(Method):
        raise ConfigError(f"unknown method {method!r}: choose {', '.join(get_args(Method))}")
    if method != "autograd" and isinstance(head, PooledHead) and head.has_closed_form:
        return head
    if method == "closed_form":
        raise ConfigError(
            f"{type(head).__name__} has no closed form (another module, or batch norm in training mode): "
            "use method='autograd'"
        )
    return None


def _overlap(f: Tensor, g: Tensor) -> Tensor:
    """The smaller magnitude, signed, where f and g agree in sign; else 0. For f, g >= 0, ``min(f, g)``."""
    return torch.minimum(f, g).relu() - torch.minimum(-f, -g).relu()


def _check_vectors(first: Tensor, *others: Tensor) -> None:
    if first.ndim != 2 or any(other.shape != first.shape for other in others):
        shapes = ", ".join(str(tuple(t.shape)) for t in (first, *others))
        raise ShapeError(f"expected embeddings of one shape (B,D), got {shapes}")


def _check_shots(anchor: Tensor, shots: Tensor) -> Tensor:
    """The shots as (B or 1,K,D)."""
    if anchor.ndim != 2:
        raise ShapeError(f"expected an anchor of shape (B,D), got {tuple(anchor.shape)}")
    batched = shots[None] if shots.ndim == 2 else shots
    b, d = anchor.shape
    if batched.ndim != 3 or batched.shape[0] not in (1, b) or batched.shape[1] == 0 or batched.shape[2] != d:
        raise ShapeError(f"expected shots of shape (K,{d}) or ({b},K,{d}) with K >= 1, got {tuple(shots.shape)}")
    return batched
