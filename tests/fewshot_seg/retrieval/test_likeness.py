"""Likeness of regions, against slow and obvious loops."""

from __future__ import annotations

import pytest
import torch

from fewshot_seg.errors import ShapeError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder
from fewshot_seg.retrieval.likeness import FLOOR, pooled_region, region_likeness, region_vectors, shared_evidence


def test_a_region_is_the_weighted_mean_of_its_positions(generator: torch.Generator) -> None:
    maps = torch.rand(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    soft = torch.rand(2, 6, 8, generator=generator, dtype=torch.float64)  # twice as fine
    found = pooled_region(maps, soft)
    for image in range(2):
        total, weights = torch.zeros(5, dtype=torch.float64), 0.0
        for row in range(3):
            for column in range(4):
                cells = soft[image, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                weight = float(cells.mean()) + FLOOR
                total += weight * maps[image, :, row, column]
                weights += weight
        torch.testing.assert_close(found[image], total / weights)


@pytest.mark.parametrize(("pooling", "neck"), [("avg", None), ("avg+max", "linear"), ("gem", None)])
def test_a_region_that_is_everything_has_the_image_s_own_vector(pooling: str, neck: str | None) -> None:
    embedder = _embedder(pooling, neck)
    maps = torch.rand(2, embedder.head.channels, 3, 3)  # type: ignore[arg-type]
    found = region_vectors(embedder, maps, torch.ones(2, 6, 6))
    torch.testing.assert_close(found, embedder.head(maps))


def test_a_part_of_the_map_pulls_the_vector_its_way() -> None:
    embedder = _embedder("avg", None)
    maps = torch.rand(1, embedder.head.channels, 2, 2)  # type: ignore[arg-type]
    soft = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    found = region_vectors(embedder, maps, soft)[0]
    alone, whole = maps[0, :, 0, 0], maps[0].mean((1, 2))
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(found, alone, dim=0) > cosine(whole, alone, dim=0)


def test_evidence_is_the_chance_of_drawing_one_name_from_both(generator: torch.Generator) -> None:
    classifier = torch.randn(4, 6, generator=generator)
    one, other = torch.randn(3, 6, generator=generator), torch.randn(1, 6, generator=generator)
    found = shared_evidence(classifier, one, other)
    for place in range(3):
        names = torch.softmax(classifier @ one[place], 0)
        others = torch.softmax(classifier @ other[0], 0)
        assert float(found[place]) == pytest.approx(sum(float(p * q) for p, q in zip(names, others, strict=True)))


def test_likeness_falls_with_either_part() -> None:
    wanted = torch.tensor([1.0, 0.0])
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    assert region_likeness(vectors, wanted, None).tolist() == pytest.approx([1.0, 0.6, 0.0])
    evidence = torch.tensor([1.0, 0.0625, 1.0])
    assert region_likeness(vectors, wanted, evidence).tolist() == pytest.approx([1.0, 0.3, 0.0])


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 3), (2, 1, 3, 3)])
def test_a_region_of_other_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="expected"):
        pooled_region(torch.rand(2, 5, 3, 3), torch.rand(shape))


def _embedder(pooling: str, neck: str | None) -> Embedder:
    spec = EmbedderSpec("timm/test_efficientnet", pooling, neck, preprocessing=Preprocessing(size=64))
    return build_embedder(spec, weights=False).requires_grad_(False)
