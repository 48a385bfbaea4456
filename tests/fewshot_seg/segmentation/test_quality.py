"""Qualities by name, and queries that are located in their mirror image, too."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.embedder import Embedder, build_embedder
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.segmentation.segmenter import SegmenterOptions

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
    assert best.look_twice
    assert best.refine == "guided"
    assert SegmenterOptions.of_quality("fast", refine="grabcut", seed=3).refine == "grabcut"
    with pytest.raises(ConfigError, match="fast or default or best"):
        SegmenterOptions.of_quality("better")
    with pytest.raises(ConfigError):
        SegmenterOptions.of_quality("best", rounds=0)
