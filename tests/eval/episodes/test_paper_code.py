"""Our figures beside what HSNet's and PANet's published code computes from the same arrays.

Both are written out here anew, step by step as they go about it: HSNet's `Evaluator.classify_prediction` and
`AverageMeter`, PANet's `Metric`. They differ from ours in what an unseen class does, which is tested too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eval.episodes.counts import RunCounts, empty_counts
from eval.episodes.figures import panet_figures
from eval.measures.metrics import confusion, episode_truth
from fewshot_seg.episodes.episode import Episode

FOLD = (6, 7, 8, 9, 10)
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """An episode's classes, its prediction (0, or i + 1 for the i-th class) and the data set's labels."""

    classes: tuple[int, ...]
    prediction: Labels
    labels: Labels


def draw(rng: np.random.Generator, ways: int, episodes: int) -> list[Drawn]:
    """Blobs, with void and foreign classes; every class of the fold has its turn; some queries lack one."""
    drawn = []
    for number in range(episodes):
        own = FOLD[number % 5]
        others = [label for label in rng.permutation(FOLD).tolist() if label != own][: ways - 1]
        size = tuple(rng.integers(5, 30, 2).tolist())
        labels = rng.choice([0, 0, own, *others[: rng.integers(0, ways)], 3, 255], size)
        classes = tuple(sorted([own, *others]))
        drawn.append(Drawn(classes, rng.integers(0, ways + 1, size), labels))
    return drawn


def counts_of(drawn: list[Drawn]) -> RunCounts:
    episodes = [Episode(n, str(n), one.classes, dict.fromkeys(one.classes, ("s",))) for n, one in enumerate(drawn)]
    counts = empty_counts(episodes, ["m"], boundary=False)
    for place, one in enumerate(drawn):
        ways = len(one.classes)
        found = confusion(one.prediction, episode_truth(one.labels, one.classes, void=255), ways)
        counts.confusion["m"][place, : ways + 1, : ways + 1] = found
    return counts


def hsnet(drawn: list[Drawn]) -> tuple[float, float]:
    """Class mean IoU and FB-IoU: two histograms an episode, void made equal in both, buffers of class columns."""
    intersection, union = np.zeros((2, 20)), np.zeros((2, 20))
    for one in drawn:
        (label,) = one.classes
        truth = np.where(one.labels == label, 1, 0)
        truth[one.labels == 255] = 255
        predicted = one.prediction.copy()
        predicted[truth == 255] = 255
        agreed = predicted[predicted == truth]
        both, ours, theirs = (np.histogram(part, bins=2, range=(0, 1))[0] for part in (agreed, predicted, truth))
        intersection[:, label - 1] += both
        union[:, label - 1] += ours + theirs - both
    columns = [label - 1 for label in FOLD]
    ious = (intersection / np.maximum(union, 1))[:, columns]
    sums = intersection[:, columns].sum(1) / union[:, columns].sum(1)
    return float(ious[1].mean()), float(sums.mean())


def panet(drawn: list[Drawn]) -> tuple[float, float]:
    """Class mean IoU and binary IoU of one run: an episode's class counts where the truth holds it, or is NaN."""
    rows = []
    for one in drawn:
        target = np.zeros_like(one.labels)
        for place, label in enumerate(one.classes, start=1):
            target[one.labels == label] = place
        target[one.labels == 255] = 255
        row = np.full((3, 21), np.nan)
        for place, label in enumerate((0, *one.classes)):
            hints_for, true = (one.prediction == place) & (target != 255), target == place
            if true.any():
                row[:, label] = (hints_for & true).sum(), (hints_for & ~true).sum(), (true & ~hints_for).sum()
        rows.append(row)
    hits, wrong, missed = np.nansum(rows, axis=0)
    with np.errstate(invalid="ignore"):
        ious = hits / (hits + wrong + missed)
    binary = [[part[0], part[1:].sum()] for part in (hits, wrong, missed)]
    ratios = np.array(binary[0]) / np.sum(binary, axis=0)
    return float(ious[list(FOLD)].mean()), float(ratios.mean())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_hsnet_s_meter(seed: int, rounds: int) -> None:
    drawn = draw(np.random.default_rng(seed), ways=1, episodes=5 * rounds)
    score = counts_of(drawn).score("m")
    miou, fb_iou = hsnet(drawn)
    assert (score.miou, score.fb_iou) == pytest.approx((miou, fb_iou), abs=1e-12)
    assert score.binary_iou == pytest.approx(fb_iou, abs=1e-12)  # in 1-way episodes they are one


def test_where_hsnet_counts_0_for_a_class_without_episodes_ours_leaves_it_out() -> None:
    drawn = draw(np.random.default_rng(0), ways=1, episodes=4)
    assert counts_of(drawn).score("m").miou == pytest.approx(hsnet(drawn)[0] * 5 / 4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 4))
def test_panet_s_metric(seed: int, ways: int, rounds: int) -> None:
    drawn = draw(np.random.default_rng(seed), ways, episodes=5 * rounds)
    expected = panet(drawn)
    figures = panet_figures(counts_of(drawn), "m")
    seen = {label for one in drawn for label in one.classes if (one.labels == label).any()}
    if seen == set(FOLD):  # PANet's mean over classes is NaN otherwise
        assert figures["miou"] == pytest.approx(expected[0], abs=1e-12)
    assert figures["binary_iou"] == pytest.approx(expected[1], abs=1e-12)
    assert (figures["miou_std"], figures["binary_iou_std"], figures["runs"]) == (0, 0, 1)


def test_panet_s_mean_and_spread_over_runs() -> None:
    drawn = draw(np.random.default_rng(1), ways=2, episodes=100)
    figures = panet_figures(counts_of(drawn), "m", runs=5)
    runs = np.array([panet(drawn[start : start + 20]) for start in range(0, 100, 20)])
    assert [figures["miou"], figures["binary_iou"]] == pytest.approx(runs.mean(0))
    assert [figures["miou_std"], figures["binary_iou_std"]] == pytest.approx(runs.std(0))


def test_what_panet_passes_over_costs_ours() -> None:
    """The second class is given pixels in a query that lacks it."""
    labels = np.array([[6, 6, 0, 0]])
    counts = counts_of([Drawn((6, 7), np.array([[1, 2, 2, 0]]), labels)])
    assert counts.score("m").miou == 0.25
    assert panet_figures(counts, "m")["miou"] == 0.5
