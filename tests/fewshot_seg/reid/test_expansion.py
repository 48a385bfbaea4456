"""Query expansion against a loop."""

from __future__ import annotations

import pytest
import torch

from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.reid.expansion import ExpansionOptions, expand_queries


def unit(number, seed):
    vectors = torch.randn(number, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


@pytest.mark.parametrize(("number", "alpha"), [(1, 0.0), (3, 0.0), (4, 3.0), (99, 1.0)])
@pytest.mark.parametrize("inside", [False, True])
def test_the_nearest_are_added_with_their_weights(number, alpha, inside):
    gallery = unit(12, 0)
    queries, own = (gallery[2:6], torch.tensor([2, 3, 4, 5])) if inside else (unit(4, 1), None)
    found = expand_queries(queries, gallery, ExpansionOptions(number, alpha), own)
    for place, query in enumerate(queries):
        others = [row for row in range(12) if own is None or row != own[place]]
        near = sorted(others, key=lambda row: -float(query @ gallery[row]))[:number]
        total = query + sum(max(float(query @ gallery[row]), 0.0) ** alpha * gallery[row] for row in near)
        torch.testing.assert_close(found[place], total / total.norm(), atol=1e-5, rtol=0)


def test_a_query_among_many_doubles_of_itself():
    """The own row may not be among the nearest: then the one that was looked for beyond them is left out."""
    gallery = torch.eye(3).repeat_interleave(4, dim=0)
    found = expand_queries(gallery[3:4], gallery, ExpansionOptions(2), torch.tensor([3]))
    torch.testing.assert_close(found, gallery[3:4])


def test_what_cannot_be():
    for values in ({"number": 0}, {"alpha": -1.0}, {"alpha": float("nan")}):
        with pytest.raises(ConfigError, match="query expansion by"):
            ExpansionOptions(**values)
    with pytest.raises(ShapeError, match="own"):
        expand_queries(unit(2, 0), unit(3, 0), own=torch.tensor([1]))
