"""Examples that show two different things."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch

from fewshot_seg.matching.ambiguity import AMBIGUOUS, likeness_of_parts
from fewshot_seg.matching.correspondence import unit
from fewshot_seg.matching.matcher import Encoded
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.segmentation.segmenter import Segmenter, Support


def made(*directions: int, objectness: float = 3.0) -> Encoded:
    """An 8x8 grid whose columns, in equal parts, point along these axes of 4, with a little noise."""
    columns = torch.eye(4)[list(directions)].repeat_interleave(8 // len(directions), 0).T  # (4,8)
    vectors = columns[:, None].repeat(1, 8, 1)
    noise = 0.05 * torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    return Encoded(
        torch.zeros(1, 8, 8), torch.full((8, 8), objectness), unit((vectors + noise)[None])[0], torch.zeros(0, 8, 8)
    )


def test_two_kinds_of_positions_are_two_things_and_one_kind_is_one() -> None:
    assert likeness_of_parts(made(0, 1)) < 0.05
    assert likeness_of_parts(made(2)) > 0.95
    assert likeness_of_parts(made(0, 0, 1, 1)) == pytest.approx(likeness_of_parts(made(0, 1)), abs=0.01)


def test_what_is_no_object_does_not_count() -> None:
    both = made(0, 1)
    both.objectness[:, 4:] = -9
    assert likeness_of_parts(both) > 0.95
    assert likeness_of_parts(made(0, 1, objectness=-9)) == 1.0


def test_the_segmenter_says_so_unless_it_is_told_what_is_meant() -> None:
    cat, cup = skimage.data.chelsea()[:, 60:360], skimage.data.coffee()[:300, 100:500]
    both = np.hstack([cat, cup])
    segmenter = Segmenter(load_embedder("default", device="cpu"))
    assert likeness_of_parts(segmenter.prepare(both).examples[0][0].features.encoded or made(0)) < AMBIGUOUS
    (note,) = segmenter.prepare({"cat": [both, cat]}).notes
    assert "two different things" in note
    assert not segmenter.prepare(Support(both, points=[(150, 150)])).notes
    assert not segmenter.prepare(cat).notes
