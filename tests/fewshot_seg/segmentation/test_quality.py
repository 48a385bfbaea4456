"""Qualities by name, and queries that are located in their mirror image, too."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.matching.features import FeatureCache, FeatureExtractor
from fewshot_seg.network.embedder import Embedder, build_embedder
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.prompts.hints import Query
from fewshot_seg.segmentation.segmenter import Segmenter, SegmenterOptions

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    return build_embedder(
        EmbedderSpec("timm/test_efficientnet", classes=10, preprocessing=Preprocessing(size=96)), weights=False
    )


@pytest.fixture(scope="module")
def cat() -> Image:
    return np.ascontiguousarray(skimage.data.chelsea()[::2, ::2])


def flipped(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def test_qualities_are_options_and_changes_come_first() -> None:
    assert SegmenterOptions.of_quality("default") == SegmenterOptions()
    fast, best = (SegmenterOptions.of_quality(name) for name in ("fast", "best"))
    assert fast.refine == "none"
    assert best.mirrored
    assert best.refine == "grabcut"
    assert SegmenterOptions.of_quality("fast", refine="grabcut", seed=3).refine == "grabcut"
    with pytest.raises(ConfigError, match="fast or default or best"):
        SegmenterOptions.of_quality("better")
    with pytest.raises(ConfigError):
        SegmenterOptions.of_quality("best", rounds=0)


@pytest.mark.parametrize("locate_by", ["correspondence", "attention"])
def test_an_image_and_its_mirror_image_give_mirrored_maps(embedder: Embedder, cat: Image, locate_by: str) -> None:
    options = SegmenterOptions.of_quality("fast", mirrored=True, locate_by=locate_by)
    segmenter = Segmenter(embedder, options)
    query = np.ascontiguousarray(cat[20:, 30:])
    one, other = (segmenter.segment(image, cat).objects[0] for image in (query, flipped(query)))
    np.testing.assert_allclose(one.attention_map, other.attention_map[:, ::-1], atol=2e-3)
    assert one.score == pytest.approx(other.score, abs=1e-3)
    plain = Segmenter(embedder, SegmenterOptions.of_quality("fast", locate_by=locate_by)).segment(query, cat)
    assert not np.allclose(plain.objects[0].attention_map, one.attention_map, atol=2e-3)


def test_what_is_known_of_a_query_is_mirrored_too(embedder: Embedder, cat: Image) -> None:
    segmenter = Segmenter(embedder, SegmenterOptions.of_quality("fast", mirrored=True, locate_by="correspondence"))
    width = cat.shape[1]
    left = Query(cat, box=(10, 20, 60, 80))
    right = Query(flipped(cat), box=(width - 70, 20, 60, 80))
    one, other = (segmenter.segment(query, cat).objects[0] for query in (left, right))
    np.testing.assert_allclose(one.attention_map, other.attention_map[:, ::-1], atol=2e-3)
    assert one.attention_map[:, -2:].max() == 0, "nothing outside of the box"


def test_features_of_the_mirror_image_are_those_of_the_mirrored_file(embedder: Embedder, cat: Image) -> None:
    plain = FeatureExtractor(embedder)
    cache = FeatureCache(10**8)
    both = FeatureExtractor(embedder, cache, mirrored=True)
    (expected,) = plain.features([plain.load(flipped(cat), pixels=False)])
    (found,) = both.features([both.load(cat, pixels=False)])
    assert found.mirrored is not None
    torch.testing.assert_close(found.mirrored.vector, expected.vector, atol=1e-4, rtol=1e-3)
    assert found.nbytes == 2 * expected.nbytes == cache.nbytes
    other = FeatureExtractor(embedder, cache)
    (again,) = other.features([other.load(cat, pixels=False)])
    assert again.mirrored is None, "features with and without the mirror image are kept apart"
