"""Which dimensions of the embedding carry the decision: weight vectors w (B,D) of pairs, tuples and sets of shots.

Pure functions of embeddings; `attention` brings w back to the image (paper, section 2.1).

Shapes: B images, D dimensions of the embedding, K shots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError

Weighting = Literal["overlap", "paper", "contributions", "grad-cam"]


def pair_weights(f1: Tensor, f2: Tensor, same: bool | Tensor = True) -> Tensor:
    """Weights of a Siamese pair: ``1 - |f1 - f2|`` for the same class, ``|f1 - f2|`` for different ones.

    Args:
        f1: (B,D) unit-norm embeddings of the first images.
        f2: (B,D) of the second.
        same: one bool for the whole batch, or a bool tensor (B,).

    Returns:
        w (B,D), within [0, 1] for non-negative embeddings and [-1, 2] for signed ones.

    Raises:
        ShapeError: shapes that don't belong together.
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
    """Weights w (B,D) of a triplet, ``(1 - |fa - fp|) * |fa - fn|``: shared with the positive, not with the negative.

    Args:
        fa: (B,D) unit-norm embeddings of the anchors. ShapeError where the others' shape is another.
        fp: (B,D) of the positives.
        fn: (B,D) of the negatives.
    """
    _check_vectors(fa, fp, fn)
    return (1 - (fa - fp).abs()) * (fa - fn).abs()


def quadruplet_weights(fa: Tensor, fp: Tensor, fn1: Tensor, fn2: Tensor) -> Tensor:
    """Weights w (B,D) of a quadruplet, ``(1 - |fa - fp|) * |fa - fn1| * |fa - fn2|``; fn2 is of a third class.

    Args:
        fa: as in `triplet_weights`, and so on.
        fp: of the positives.
        fn1: of the first negatives.
        fn2: of the second.
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
    """Weights w (B,D) of anchors against any number of positives, and of negatives from any number of other classes.

    The shots of one class are *averaged*: a dimension that most of them share counts, and one odd shot can't veto it,
    as in a product. The other *classes* combine as the paper's tuples do: a dimension must tell the anchor's class
    from every one of them.

    - "paper": ``mean_k(1 - |fa - fp_k|) * prod_c mean_j |fa - fn_cj|``: with one positive and 0, 1 or 2 one-shot
      negative classes exactly `pair_weights` (same class), `triplet_weights` and `quadruplet_weights`.
    - "overlap": ``mean_k o(fa, fp_k) - rejection * max_c mean_j o(fa, fn_cj)``, the largest by magnitude, of
      `_overlap`. The paper's recipe gives a dimension that is near zero in both images the full weight 1; here it
      gets none, which makes the maps of untrained ImageNet features land on the object.
    - "contributions": the same of `_contribution`: what a dimension adds to the cosine of the two.
    - "grad-cam": ``mean_k fp_k - rejection * mean_j fn_cj`` of the one class c that is nearest to the anchor: the
      gradient, with regard to fa, of its mean cosine to the positives less that to the nearest other class. Brought
      to the map by `attention.attention_maps` it is Grad-CAM (Selvaraju et al., ICCV 2017) of that margin. A
      dimension which fp has and fa lacks counts in full here, where equation 1 may give it any weight.

    Args:
        anchor: (B,D) unit-norm embeddings.
        positives: (K,D), the same shots for all anchors, or (B,K,D).
        negatives: for each other class (K_c,D) or (B,K_c,D).
        weighting: one of the above.
        rejection: for all but "paper", how much of the nearest other class's part is taken away, >= 0.

    Raises:
        ShapeError: a shape is not as above, or a class has no shot. ConfigError: an unknown weighting.
    """
    shots, a = [_check_shots(anchor, group) for group in (positives, *negatives)], anchor[:, None]  # a: (B,1,D)
    if weighting == "paper":
        w = (1 - (a - shots[0]).abs()).mean(1)  # (B,D)
        for group in shots[1:]:
            w = w * (a - group).abs().mean(1)
        return w
    if weighting == "grad-cam":
        return _margin_gradient(anchor, shots, rejection)
    if weighting in ("overlap", "contributions"):
        agreement = _overlap if weighting == "overlap" else _contribution
        w = agreement(a, shots[0]).mean(1)  # (B,D)
        if not negatives:
            return w
        others = torch.stack([agreement(a, group).mean(1) for group in shots[1:]])  # (classes,B,D)
        strongest = others.abs().argmax(0, keepdim=True)
        return w - rejection * others.gather(0, strongest)[0]
    raise ConfigError(f"unknown weighting {weighting!r}: choose {', '.join(get_args(Weighting))}")


def _overlap(f: Tensor, g: Tensor) -> Tensor:
    """The smaller magnitude, signed, where f and g agree in sign; else 0. For f, g >= 0, ``min(f, g)``."""
    return torch.minimum(f, g).relu() - torch.minimum(-f, -g).relu()


def _contribution(f: Tensor, g: Tensor) -> Tensor:
    """``|f * g|``, signed as f, where f and g agree in sign; else 0. For f, g >= 0, ``f * g``."""
    return f.sign() * (f * g).relu()


def _margin_gradient(anchor: Tensor, shots: list[Tensor], rejection: float) -> Tensor:
    """The gradient (B,D) of the anchors' cosine to the positives, less that to the nearest other class."""
    means = torch.stack([group.mean(1).expand_as(anchor) for group in shots])  # (1 + classes,B,D)
    if len(shots) == 1:
        return means[0]
    cosines = (means[1:] * anchor).sum(2)  # (classes,B)
    nearest = cosines.argmax(0)[None, :, None].expand_as(means[:1])
    return means[0] - rejection * means[1:].gather(0, nearest)[0]


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
