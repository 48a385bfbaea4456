"""What two images have in common, position by position, without a gradient: alternatives to equation 1's maps.

Pure functions. Shapes: B images, C channels and h x w positions of the last convolutional map, L classes of the
backbone's own classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fewshot_seg.errors import ShapeError


def contributions(feature_map: Tensor, f: Tensor, g: Tensor) -> Tensor:
    """Each position's part of the cosine of two images: ``sum_k f_k g_k A_k``.

    With average pooling and no neck the mean over positions is, up to f's norm, what channel by channel adds up
    to ``f.g``, weighted by the channel's own share. No channel that either image lacks counts.

    Args:
        feature_map: A (B,C,h,w).
        f: (B,C) unit norm, of these images.
        g: (B,C) unit norm, of the others.

    Returns:
        (B,h,w), >= 0 where A, f and g are.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    _check(feature_map, f, g)
    return torch.einsum("bc,bchw->bhw", f * g, feature_map)


def class_evidence(
    feature_map: Tensor, classifier: Tensor, own: Tensor, shown: Tensor, temperature: float = 1.0
) -> Tensor:
    """Where an image shows the classes, of those the backbone was trained on, that it shares with another.

    The classes are weighted by the product of both images' probabilities; the map is the sum of their class
    activation maps (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).

    Args:
        feature_map: A (B,C,h,w).
        classifier: (L,C) weights of the backbone's own last layer. Its offsets don't matter to the maps' shape.
        own: (B,C) mean of each image's map.
        shown: (B,C) mean of the other image's, or of what counts of it.
        temperature: of the softmax over classes, > 0.

    Returns:
        (B,h,w), of either sign.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    _check(feature_map, own, shown)
    if classifier.ndim != 2 or classifier.shape[1] != feature_map.shape[1]:
        raise ShapeError(f"expected a classifier (L,{feature_map.shape[1]}), got {tuple(classifier.shape)}")
    shared = class_shares(classifier, own, shown, temperature)  # (B,L)
    return torch.einsum("bc,bchw->bhw", shared @ classifier, feature_map)


def class_shares(classifier: Tensor, own: Tensor, shown: Tensor, temperature: float = 1.0) -> Tensor:
    """How much of what two images share falls to each class: ``p_l q_l / sum_l p_l q_l`` of their probabilities.

    Arguments as in `class_evidence`; gives (B,L), >= 0, each row's sum 1.
    """
    log_shares = sum(torch.log_softmax(pooled @ classifier.T / temperature, 1) for pooled in (own, shown))
    return torch.softmax(torch.as_tensor(log_shares), 1)


def _check(feature_map: Tensor, *vectors: Tensor) -> None:
    if feature_map.ndim != 4 or any(vector.shape != feature_map.shape[:2] for vector in vectors):
        shapes = ", ".join(str(tuple(vector.shape)) for vector in vectors)
        raise ShapeError(f"feature map {tuple(feature_map.shape)} and vectors {shapes} don't belong together")
