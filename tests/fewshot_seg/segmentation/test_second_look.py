"""A second look: which part is seen again, and what comes of both looks."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.matching.locators import Located
from fewshot_seg.network.embedder import build_embedder
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.segmentation.second_look import both_looks, constraints_of_part, part_to_see
from fewshot_seg.segmentation.segmenter import Query, Segmenter, SegmenterOptions


def spot(rows: slice, columns: slice, value: float = 0.9) -> np.ndarray:
    map_ = np.zeros((1, 20, 30), np.float32)
    map_[0, rows, columns] = value
    return map_


@given(st.integers(0, 18), st.integers(0, 28), st.floats(0.01, 1))
@settings(max_examples=40, deadline=None)
def test_the_part_holds_all_of_a_spot_and_lies_in_the_image(row: int, column: int, value: float) -> None:
    part = part_to_see(spot(slice(row, row + 2), slice(column, column + 2), value), (200, 300))
    assert part is not None
    rows, columns = part
    assert 0 <= rows.start <= 10 * row < 10 * (row + 2) <= rows.stop <= 200
    assert 0 <= columns.start <= 10 * column < 10 * (column + 2) <= columns.stop <= 300
    assert (rows.stop - rows.start) <= 92
    assert (columns.stop - columns.start) <= 92


def test_nothing_and_almost_everything_are_not_looked_at_again() -> None:
    assert part_to_see(np.zeros((2, 20, 30), np.float32), (200, 300)) is None
    assert part_to_see(spot(slice(0, 20), slice(0, 28)), (200, 300)) is None


def test_what_is_perhaps_there_counts_and_every_class_does() -> None:
    maps = np.concatenate([spot(slice(2, 4), slice(2, 4)), spot(slice(2, 4), slice(12, 14), 0.1)])
    maps[0, 3, 8] = 0.4
    part = part_to_see(maps, (200, 300))
    assert part is not None
    assert part[1].start <= 20
    assert part[1].stop >= 140


def test_logits_are_averaged_within_the_part_alone() -> None:
    first = Located(np.full((1, 10, 10), 0.2, np.float32), np.array([0.7], np.float32), probabilistic=True)
    second = Located(np.full((1, 10, 10), 0.9, np.float32), np.array([0.1], np.float32), probabilistic=True)
    part = (slice(20, 60), slice(40, 80))
    found = both_looks(first, second, part, (100, 100))
    assert found.scores.tolist() == first.scores.tolist()
    odds = np.sqrt(0.25 * 9)
    np.testing.assert_allclose(found.maps[0][part], odds / (1 + odds), rtol=1e-4)
    outside = found.maps[0].copy()
    outside[part] = 0.2
    np.testing.assert_allclose(outside, 0.2, rtol=1e-6)


def test_what_is_known_goes_with_the_part() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:4, 2:4] = True
    found = constraints_of_part(Constraints(mask, ~mask), (slice(1, 5), slice(2, 6)))
    assert found is not None
    assert (found.foreground == mask[1:5, 2:6]).all()
    assert found.inside is None
    assert constraints_of_part(None, (slice(0, 1), slice(0, 1))) is None


@pytest.mark.parametrize("locate_by", ["correspondence", "attention"])
def test_any_locator_looks_twice_and_a_box_of_the_query_holds(locate_by: str) -> None:
    spec = EmbedderSpec("timm/test_efficientnet", classes=10, preprocessing=Preprocessing(size=96))
    options = SegmenterOptions(refine="none", look_twice=True, locate_by=locate_by)  # type: ignore[arg-type]
    segmenter = Segmenter(build_embedder(spec, weights=False), options)
    cat = np.ascontiguousarray(skimage.data.chelsea()[::2, ::2])
    one, other = (segmenter.segment(Query(cat, box=(60, 40, 50, 50)), cat) for _ in range(2))
    assert (one.label_map == other.label_map).all()
    assert one.size == cat.shape[:2]
    outside = one.mask.copy()
    outside[40:90, 60:110] = False
    assert not outside.any()
