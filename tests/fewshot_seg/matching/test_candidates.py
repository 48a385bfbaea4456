"""What a bare example may mean."""

from __future__ import annotations

import torch

from fewshot_seg.matching.candidates import candidate_maps
from fewshot_seg.matching.features import Features
from tests.fewshot_seg.matching.test_ambiguity import made


def features(*directions: int, objectness: float = 3.0) -> Features:
    return Features({}, torch.ones(1), (80, 80), made(*directions, objectness=objectness))


def test_each_of_two_things_and_both_are_candidates():
    found = [map_ > 0.4 for map_ in candidate_maps(features(0, 0, 1, 1))]
    assert found[0].all()
    assert any(one[:, :4].all() and not one[:, 4:].any() for one in found)
    assert any(one[:, 4:].all() and not one[:, :4].any() for one in found)


def test_parts_that_do_not_touch_are_things_of_their_own():
    shown = features(0)
    assert shown.encoded is not None
    shown.encoded.objectness[:, 3:5] = -9
    found = [map_ > 0.4 for map_ in candidate_maps(shown)]
    assert any(one[:, :3].all() and not one[:, 3:].any() for one in found)
    assert any(one[:, 5:].all() and not one[:, :5].any() for one in found)


def test_nothing_is_shown_of_no_object_or_without_a_matcher():
    assert not candidate_maps(features(0, 1, objectness=-9))
    assert not candidate_maps(Features({}, torch.ones(1), (80, 80)))
