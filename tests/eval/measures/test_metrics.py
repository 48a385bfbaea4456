"""The metrics against the same definitions written out pixel by pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from eval.measures.metrics import SegmentationScore, confusion, episode_tallies, episode_truth, means, where_present
from fewshot_seg.datasets import VOID
from fewshot_seg.errors import ShapeError

CLASSES = (3, 5, 9)
Case = tuple[NDArray[np.uint8], NDArray[np.int32], tuple[int, ...]]  # prediction 0..N, the data's labels, classes


@st.composite
def cases(draw: st.DrawFn) -> Case:
    classes = tuple(sorted(draw(st.sets(st.sampled_from(CLASSES), min_size=1))))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=7))
    prediction = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, len(classes))))
    labels = draw(hnp.arrays(np.int32, shape, elements=st.sampled_from([0, 3, 5, 9, 12, VOID])))
    return prediction, labels, classes


class SlowScore:
    """The definitions, one pixel at a time."""

    def __init__(self, episodes: list[Case]) -> None:
        self.per_class: dict[int, list[int]] = {}
        self.binary = {False: [0, 0], True: [0, 0]}
        for prediction, labels, classes in episodes:
            for pixel in np.ndindex(prediction.shape):
                if labels[pixel] != VOID:
                    self.add(prediction[pixel], labels[pixel], classes)

    def add(self, predicted: int, label: int, classes: tuple[int, ...]) -> None:
        told = classes[predicted - 1] if predicted else None
        true = label if label in classes else None
        for one in classes:
            counts = self.per_class.setdefault(one, [0, 0])
            counts[0] += told == one and true == one
            counts[1] += told == one or true == one
        for side in (False, True):
            self.binary[side][0] += (told is not None) is side and (true is not None) is side
            self.binary[side][1] += (told is not None) is side or (true is not None) is side

    def ious(self) -> dict[int, float]:
        return {one: both / either for one, (both, either) in self.per_class.items() if either}

    @staticmethod
    def mean(pairs: list[list[int]]) -> float:
        ious = [both / either for both, either in pairs if either]
        return sum(ious) / len(ious) if ious else math.nan

    def panet_binary(self) -> float:
        """PANet's `get_mIoU_binary`: tp, fp and fn of each class, summed over the classes, beside background's."""
        summed = [sum(counts[part] for counts in self.per_class.values()) for part in (0, 1)]
        return self.mean([self.binary[False], summed])


def score_of(episodes: list[Case]) -> SegmentationScore:
    score = SegmentationScore(CLASSES)
    for prediction, labels, classes in episodes:
        score.add(confusion(prediction, episode_truth(labels, classes), len(classes)), classes)
    return score


def stacked(episodes: list[Case]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(E, 3) classes and (E, 4, 4) confusions, filled up with zeros."""
    labels, counts = np.zeros((len(episodes), 3), np.int64), np.zeros((len(episodes), 4, 4), np.int64)
    for place, (prediction, data, classes) in enumerate(episodes):
        side = len(classes) + 1
        labels[place, : side - 1] = classes
        counts[place, :side, :side] = confusion(prediction, episode_truth(data, classes), side - 1)
    return labels, counts


@settings(max_examples=200, deadline=None)
@given(st.lists(cases(), max_size=5))
def test_against_the_slow_loop(episodes: list[Case]) -> None:
    score, slow = score_of(episodes), SlowScore(episodes)
    ious = slow.ious()
    assert score.episodes == len(episodes)
    assert score.per_class == {one: ious[one] for one in CLASSES if one in ious}
    assert score.miou == pytest.approx(sum(ious.values()) / len(ious) if ious else math.nan, nan_ok=True)
    assert score.fb_iou == pytest.approx(SlowScore.mean(list(slow.binary.values())), nan_ok=True)
    assert score.binary_iou == pytest.approx(slow.panet_binary(), nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(cases(), max_size=4), st.lists(cases(), max_size=4))
def test_parts_merge_into_the_whole(first: list[Case], second: list[Case]) -> None:
    names = {one: str(one) for one in range(1, 13)}
    merged = score_of(first).merge(score_of(second))
    assert merged.to_dict(list(names.values())) == score_of(first + second).to_dict(list(names.values()))


@settings(max_examples=50, deadline=None)
@given(st.lists(cases(), min_size=1, max_size=5))
def test_all_at_once_is_one_by_one(episodes: list[Case]) -> None:
    """Of episodes with different numbers of classes, too: what an episode hasn't is 0."""
    labels, counts = stacked(episodes)
    score, tallies = SegmentationScore(CLASSES), episode_tallies(labels, counts, CLASSES)
    score.add_all(labels, counts)
    for name, whole in score_of(episodes).tally._asdict().items():
        assert np.array_equal(getattr(score, name), whole)
        assert np.array_equal(getattr(tallies, name).sum(0), whole)
    for place, one in enumerate(episodes):
        alone = means(score_of([one]).tally)
        assert {name: float(values[place]) for name, values in means(tallies).items()} == pytest.approx(
            {name: float(value) for name, value in alone.items()}, nan_ok=True
        )


@settings(max_examples=50, deadline=None)
@given(st.lists(cases(), min_size=1, max_size=5))
def test_passing_over_absent_classes_takes_nothing_from_present_ones(episodes: list[Case]) -> None:
    labels, counts = stacked(episodes)
    moved = where_present(counts)
    whole, present = (episode_tallies(labels, one, CLASSES) for one in (counts, moved))
    assert np.array_equal(moved.sum((1, 2)), counts.sum((1, 2)))
    assert np.array_equal(present.intersection, whole.intersection)
    for place, (_, data, classes) in enumerate(episodes):
        for column, label in enumerate(CLASSES):
            held = label in classes and (data == label).any()
            assert present.union[place, column] == (whole.union[place, column] if held else 0)


def test_episodes_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="aren't among"):
        episode_tallies(np.array([[4]]), np.ones((1, 2, 2), int), CLASSES)
    with pytest.raises(ValueError, match="aren't among"):
        episode_tallies(np.array([[12]]), np.ones((1, 2, 2), int), CLASSES)


@settings(max_examples=50, deadline=None)
@given(cases())
def test_void_pixels_count_for_nothing(case: Case) -> None:
    prediction, labels, classes = case
    other = np.where(labels == VOID, len(classes) - prediction, prediction)
    assert np.array_equal(
        confusion(prediction, episode_truth(labels, classes), len(classes)),
        confusion(other, episode_truth(labels, classes), len(classes)),
    )


@settings(max_examples=50, deadline=None)
@given(cases().filter(lambda case: len(case[2]) == 1))
def test_in_one_way_episodes_binary_iou_is_fb_iou(case: Case) -> None:
    score = score_of([case])
    assert score.binary_iou == pytest.approx(score.fb_iou, nan_ok=True)


def test_sums_come_before_the_division() -> None:
    """A class mean IoU over sums, not a mean over images: 100 pixels right of 100, then 0 of 300."""
    large, small = np.ones((10, 30), np.uint8), np.ones((10, 10), np.uint8)
    score = score_of([(small, small * 3, (3,)), (large * 0, large * 3, (3,))])
    assert score.per_class == {3: 0.25}
    assert score.miou == 0.25


def test_a_perfect_and_a_wrong_prediction() -> None:
    labels = np.array([[0, 3], [5, VOID]])
    right, swapped = np.array([[0, 1], [2, 0]]), np.array([[0, 2], [1, 0]])
    perfect, wrong = score_of([(right, labels, (3, 5))]), score_of([(swapped, labels, (3, 5))])
    assert (perfect.miou, perfect.fb_iou, perfect.binary_iou) == (1, 1, 1)
    assert (wrong.miou, wrong.fb_iou, wrong.binary_iou) == (0, 1, 0.5)


def test_what_was_never_seen_is_left_out_and_undefined_means_are_none() -> None:
    assert SegmentationScore((1,)).to_dict(["a"]) == {
        "miou": None,
        "fb_iou": None,
        "binary_iou": None,
        "per_class": {},
        "episodes": 0,
    }


def test_a_class_that_the_query_lacks_counts_what_is_wrongly_given_to_it() -> None:
    labels = np.array([[3, 0]], np.uint8)
    assert score_of([(np.array([[1, 2]]), labels, (3, 5))]).per_class == {3: 1.0, 5: 0.0}


@pytest.mark.parametrize(
    ("prediction", "truth", "error"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), ShapeError),
        (np.zeros(3, int), np.zeros(3, int), ShapeError),
        (np.array([[2]]), np.array([[0]]), ValueError),
        (np.array([[-1]]), np.array([[0]]), ValueError),
        (np.array([[0]]), np.array([[2]]), ValueError),
    ],
)
def test_arrays_that_do_not_fit(prediction: NDArray[Any], truth: NDArray[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        confusion(prediction, truth, 1)


def test_scores_of_other_classes_do_not_merge() -> None:
    with pytest.raises(ValueError, match="don't add up"):
        SegmentationScore((1,)).merge(SegmentationScore((2,)))
