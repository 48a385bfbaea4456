"""The measures of retrieval against loops that are their definitions, and against pytorch-metric-learning's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from torch import Tensor
from torch.nn import functional

from eval.retrieval.metrics import Ranking, average_precision_at_r, r_precision, rank, recalls
from fewshot_seg.errors import ConfigError, DataError, ShapeError

KS = (1, 2, 4, 100)


def slow(
    queries: Tensor, gallery: Tensor, query_labels: Tensor, gallery_labels: Tensor, own: Tensor
) -> list[dict[str, float]]:
    """Every figure of every query, one comparison after the other."""
    rows = []
    for query in range(len(queries)):
        others = [row for row in range(len(gallery)) if row != own[query]]
        score = {row: float((queries[query].double() * gallery[row].double()).sum().float()) for row in others}
        others.sort(key=lambda row: (-score[row], row))
        right = [bool(gallery_labels[row] == query_labels[query]) for row in others]
        number = sum(right)
        values = {f"r@{k}": float(any(right[:k])) for k in KS}
        precisions = [sum(right[: place + 1]) / (place + 1) for place in range(number) if right[place]]
        values["map@r"] = sum(precisions) / number if number else math.nan
        values["rp"] = sum(right[:number]) / number if number else math.nan
        rows.append(values)
    return rows


def fast(ranking: Ranking) -> list[dict[str, float]]:
    found = recalls(ranking, KS).double().tolist()
    maps, precisions = average_precision_at_r(ranking).tolist(), r_precision(ranking).tolist()
    return [
        {f"r@{k}": value for k, value in zip(KS, row, strict=True)} | {"map@r": map_, "rp": precision}
        for row, map_, precision in zip(found, maps, precisions, strict=True)
    ]


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(2, 25),
    classes=st.integers(1, 6),
    queries=st.integers(1, 10),
    distinct=st.integers(1, 25),
    chunk=st.integers(1, 12),
    seed=st.integers(0, 10**6),
)
def test_against_a_loop(images: int, classes: int, queries: int, distinct: int, chunk: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    different = functional.normalize(torch.randn(distinct, 4, generator=generator), dim=1)
    gallery = different[torch.randint(distinct, (images,), generator=generator)]  # doubles: ties
    gallery_labels = torch.randint(classes, (images,), generator=generator)
    own = torch.randint(-1, images, (queries,), generator=generator)  # some aren't in the gallery
    asked = torch.where((own >= 0)[:, None], gallery[own], functional.normalize(torch.randn(queries, 4), dim=1))
    labels = torch.where(own >= 0, gallery_labels[own], torch.randint(classes + 1, (queries,), generator=generator))
    ranking = rank(asked, gallery, labels, gallery_labels, own, KS, chunk=chunk)
    for got, expected in zip(fast(ranking), slow(asked, gallery, labels, gallery_labels, own), strict=True):
        assert got == pytest.approx(expected, nan_ok=True)


def cluster_like(classes: int, each: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 16, generator=generator)
    labels = torch.arange(classes).repeat_interleave(each)
    noise = torch.randn(len(labels), 16, generator=generator)
    return functional.normalize(centres[labels] + 1.5 * noise, dim=1), labels


@pytest.mark.parametrize("each", [2, 7, 30])
def test_against_pytorch_metric_learning(each: int) -> None:
    f, labels = cluster_like(12, each)
    ranking = rank(f, f, labels, labels, torch.arange(len(f)), KS)
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r", "r_precision"),
        k="max_bin_count",
        knn_func=CustomKNN(CosineSimilarity()),
    )
    theirs = calculator.get_accuracy(f, labels)
    assert float(recalls(ranking, (1,)).double().mean()) == pytest.approx(theirs["precision_at_1"])
    assert float(average_precision_at_r(ranking).mean()) == pytest.approx(theirs["mean_average_precision_at_r"])
    assert float(r_precision(ranking).mean()) == pytest.approx(theirs["r_precision"])


def test_queries_and_gallery_apart_against_pytorch_metric_learning() -> None:
    f, labels = cluster_like(10, 12)
    asked, rest = torch.arange(len(f)) % 4 == 0, torch.arange(len(f)) % 4 != 0
    ranking = rank(f[asked], f[rest], labels[asked], labels[rest], torch.full((int(asked.sum()),), -1), KS)
    calculator = AccuracyCalculator(
        include=("mean_average_precision_at_r",), k="max_bin_count", knn_func=CustomKNN(CosineSimilarity())
    )
    theirs = calculator.get_accuracy(f[asked], labels[asked], f[rest], labels[rest])
    assert float(average_precision_at_r(ranking).mean()) == pytest.approx(theirs["mean_average_precision_at_r"])


def test_a_query_alone_in_its_class_is_a_miss_and_has_no_precision() -> None:
    f = torch.eye(3)
    ranking = rank(f, f, torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]), torch.arange(3), (1, 50))
    assert recalls(ranking, (1, 50)).tolist() == [[False, False], [False, True], [False, True]]
    assert average_precision_at_r(ranking).tolist() == pytest.approx([math.nan, 0, 0], nan_ok=True)


def test_what_cannot_be() -> None:
    f, labels = torch.eye(3), torch.arange(3)
    with pytest.raises(ShapeError, match="2 for 3 queries and 3 for 3"):
        rank(f, f, labels[:2], labels, labels, (1,))
    with pytest.raises(ConfigError, match="at least 1"):
        rank(f, f, labels, labels, labels, ())
    with pytest.raises(DataError, match="not finite"):
        rank(f * torch.nan, f, labels, labels, labels, (1,))
