"""The bootstrap against a loop that draws groups one by one, and against what is known of its distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.measures.bootstrap import group_sums, interval, number_groups, p_value, resample, resample_tally
from eval.measures.metrics import Tally, mean_iou


def test_groups_are_numbered_by_first_appearance_and_summed() -> None:
    groups = number_groups(["b", "a", "b", "c"])
    assert groups.tolist() == [0, 1, 0, 2]
    assert group_sums(np.array([[1, 2], [10, 20], [3, 4], [5, 6]]), groups).tolist() == [[4, 6], [10, 20], [5, 6]]


def test_a_resample_draws_as_many_groups_as_there_are_one_by_one() -> None:
    values = np.array([[1.0, 0], [100, 0], [10_000, 1]])
    bits = np.random.Philox(key=7)
    slow = [values[[int(bits.random_raw()) % 3 for _ in range(3)]].sum(0) for _ in range(50)]
    assert resample(values, 50, 7).tolist() == np.array(slow).tolist()


def test_the_draws_depend_on_the_seed_and_the_groups_alone() -> None:
    values = np.arange(40.0)[:, None]
    assert np.array_equal(resample(values, 30, 1) * 3, resample(values * 3, 30, 1))
    assert not np.array_equal(resample(values, 30, 1), resample(values, 30, 2))
    assert np.array_equal(resample(values, 30, 1)[:10], resample(values, 10, 1))


def test_many_groups_are_drawn_in_parts_that_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(50.0)[:, None]
    whole = resample(values, 40, 3)
    monkeypatch.setattr("eval.measures.bootstrap._CELLS", 150)
    assert np.array_equal(resample(values, 40, 3), whole)


def test_no_group_and_no_sample() -> None:
    assert resample(np.zeros((0, 2)), 5, 0).shape == (0, 2)
    assert resample(np.zeros((3, 2)), 0, 0).shape == (0, 2)
    assert interval(np.array([math.nan, 0.5])) is None
    assert p_value(np.array([math.nan])) is None


def test_the_spread_of_a_mean_is_its_standard_error(rng: np.random.Generator) -> None:
    values = rng.normal(5, 2, 400)
    drawn = resample(values[:, None], 4000, 0)[:, 0] / 400
    low, high = interval(drawn) or (0, 0)
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(400), rel=0.05)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(400), rel=0.08)


def test_episodes_of_one_query_are_drawn_together() -> None:
    """Ten episodes of each of four queries: a spread of four draws, not of forty."""
    wins = np.repeat([1, 0, 1, 0], 10)[:, None]
    tally = Tally(wins, np.ones_like(wins), np.zeros((40, 2), int), np.zeros((40, 2), int))
    drawn = mean_iou(resample_tally(tally, number_groups(np.repeat(range(4), 10).tolist()), 4000, 0))
    assert set(np.unique(drawn)) == {0, 0.25, 0.5, 0.75, 1}
    assert drawn.std() == pytest.approx(math.sqrt(0.25 / 4), rel=0.05)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([1.0] * 99, 0.02), ([-1.0] * 99, 0.02), ([0.0] * 99, 1.0), ([1.0] * 89 + [-1.0] * 10, 0.22)],
)
def test_p_values(differences: list[float], expected: float) -> None:
    assert p_value(np.array(differences)) == pytest.approx(expected)
