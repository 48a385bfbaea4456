"""A matcher over a network of patches that keeps no classifier: trained, read again, and used by the segmenter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fewshot_seg.errors import ConfigError
from fewshot_seg.matching.files import class_weights, read_matcher_header
from fewshot_seg.network.embedding import load_embedder, save_checkpoint
from fewshot_seg.segmentation.segmenter import Segmenter, SegmenterOptions
from tests.small_networks import install_small
from tests.train_embed.matcher.tiny import TRACK, make_coco, make_voc, options
from train_embed.matcher.data import prepare
from train_embed.matcher.trainer import train_matcher


def test_it_reads_two_layers_and_its_own_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install_small(tmp_path / "site")
    make_voc(tmp_path / "voc")
    make_coco(tmp_path / "coco")
    save_checkpoint(load_embedder("small-dinov2", device="cpu"), tmp_path / "tiny.safetensors")
    asked, out = options(tmp_path, views=1, steps=2, presence_steps=2), tmp_path / "m.safetensors"
    data = prepare(asked, tmp_path / "views.bin", TRACK)
    assert dict(data.matcher.spec.layers) == {"blocks.2": 48, "blocks.3": 48}
    assert (data.store.grid, data.store.stacked.dtype) == ((6, 6), np.float16)
    assert isinstance(data.store.stacked, np.memmap)
    assert torch.equal(class_weights(data.embedder, data.matcher), torch.eye(48))
    train_matcher(asked, data, out)
    header = read_matcher_header(out)
    assert header.training["classifier"] is False
    image = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    segmenter = Segmenter(
        load_embedder(tmp_path / "tiny.safetensors", device="cpu"), SegmenterOptions(matcher=str(out))
    )
    found = segmenter.segment(image, image).objects[0]
    assert found.attention_map.shape == (6, 6)
    assert found.threshold is not None  # probabilities, as a matcher's are
    with pytest.raises(ConfigError, match="no matcher was trained for this embedder's weights"):
        Segmenter(segmenter.embedder, SegmenterOptions(locate_by="matching"))
