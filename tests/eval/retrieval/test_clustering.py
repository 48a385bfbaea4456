"""k-means and NMI beside scikit-learn's, which a library for the tests brings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch.nn import functional

from eval.retrieval.clustering import assign, k_means, normalized_mutual_information, seed_centres
from fewshot_seg.errors import ConfigError, ShapeError


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.tuples(st.integers(-3, 5), st.integers(0, 4)), min_size=1, max_size=40),
)
def test_nmi_is_scikit_learns(labels: list[tuple[int, int]]) -> None:
    first, second = zip(*labels, strict=True)
    got = normalized_mutual_information(torch.tensor(first), torch.tensor(second))
    assert got == pytest.approx(normalized_mutual_info_score(first, second), abs=1e-9)


def blobs(count: int = 240, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 8
    centres = torch.randn(8, 10, generator=generator)
    points = centres[labels] + 0.4 * torch.randn(count, 10, generator=generator)
    return functional.normalize(points, dim=1), labels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_from_the_same_seeds_the_clusters_are_scikit_learns(seed: int) -> None:
    x, _ = blobs()
    theirs = KMeans(8, init=seed_centres(x, 8, seed).numpy(), n_init=1, max_iter=100, tol=0).fit(x.numpy())
    assert k_means(x, 8, seed=seed, iterations=100).tolist() == theirs.labels_.tolist()


def test_clusters_that_lie_apart_are_found() -> None:
    x = torch.eye(5).repeat_interleave(9, dim=0) + 0.01 * torch.randn(45, 5)
    assert normalized_mutual_information(k_means(x, 5), torch.arange(5).repeat_interleave(9)) == 1


def test_the_nearest_centre_by_a_loop() -> None:
    x, _ = blobs(60)
    centres = x[:7]
    assert assign(x, centres).tolist() == [int((one - centres).square().sum(1).argmin()) for one in x]


def test_more_clusters_than_different_vectors() -> None:
    assert k_means(torch.ones(6, 3), 4).tolist() == [0] * 6


def test_the_same_seed_gives_the_same_clusters() -> None:
    x, _ = blobs()
    assert torch.equal(k_means(x, 8, seed=3), k_means(x, 8, seed=3))


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="1 to 3, not 4"):
        k_means(torch.eye(3), 4)
    with pytest.raises(ShapeError, match="vectors"):
        k_means(torch.ones(3), 1)
    with pytest.raises(ShapeError, match="same things"):
        normalized_mutual_information(torch.ones(2), torch.ones(3))
