"""Whether a bare example shows two different things: then nobody can tell which of them is meant."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fewshot_seg.matching.matcher import Encoded

AMBIGUOUS = 0.2
"""Below this the parts are taken for two things. Of the VOC development images that names 54 % of the 262 that show two
classes or more of at least 2 % of the image, and 8 % of the 110 that show one alone (matcher "fold2"; 68 and 9 % with
"default")."""

_OBJECT = 0.4  # objectness from here on belongs to some object
_LEAST = 8  # positions
_ROUNDS = 8


def likeness_of_parts(encoded: Encoded) -> float:
    """How alike the two halves are into which what an image shows of objects falls apart best.

    The image comes without a batch: objectness (h,w), by which positions are weighted, and vectors (m,h,w), by which
    they are split: spherical 2-means, begun along the direction in which they differ most.

    Returns:
        The cosine of the halves' mean vectors, in [-1, 1]; 1 where there are hardly any objects.
    """
    weight = torch.sigmoid(encoded.objectness).flatten()  # (n,)
    weight = weight * (weight > _OBJECT)
    vectors = encoded.vectors.flatten(1)  # (m,n)
    if int((weight > 0).sum()) < _LEAST:
        return 1.0
    centred = vectors - ((vectors * weight).sum(1) / weight.sum())[:, None]
    _, directions = torch.linalg.eigh((centred * weight) @ centred.T)
    one = directions[:, -1] @ centred > 0  # (n,) bool
    for _ in range(_ROUNDS):
        first, second = (F.normalize((vectors * weight * half).sum(1), dim=0) for half in (one, ~one))
        one = first @ vectors > second @ vectors
    return float(first @ second)
