"""Networks of patches, small and with random weights: their map is their patch tokens, at any size they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch

from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import pair_weights
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.backbones import default_preprocessing
from fewshot_seg.network.embedder import Embedder, build_embedder
from fewshot_seg.network.embedding import for_retrieval
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.network.patches import PatchTrunk, patch_trunk
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.onnx.export import export_onnx
from fewshot_seg.segmentation.segmenter import Segmenter

_VIT = {"depth": 4, "embed_dim": 48, "num_heads": 3}
NETWORKS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": _VIT,
    "vit_small_patch14_reg4_dinov2": _VIT,
    "vit_small_patch16_dinov3": {"depth": 4, "embed_dim": 64, "num_heads": 2},
    "eva02_tiny_patch14_224": {"depth": 4, "embed_dim": 64, "num_heads": 2},
    "vit_base_patch16_siglip_224": _VIT,
    "swin_tiny_patch4_window7_224": {"embed_dim": 32, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 4)},
}


def small(name: str, size: int = 112) -> Embedder:
    model = timm.create_model(name, dynamic_img_size=True, num_classes=0, **NETWORKS[name]).eval()
    found = patch_trunk(model)
    assert found is not None
    trunk, channels = found
    spec = EmbedderSpec(f"timm/{name}", preprocessing=Preprocessing(size))
    return Embedder(trunk, PooledHead(channels), spec).eval().requires_grad_(False)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_is_the_patch_tokens_and_the_vector_their_mean(name: str) -> None:
    embedder = small(name)
    model = embedder.trunk.model
    step = embedder.trunk.step
    for height, width in ((8 * step, 8 * step), (8 * step, 16 * step), (24 * step, 16 * step)):
        batch = torch.randn(2, 3, height, width)
        emb = embedder(batch)
        tokens = model.forward_features(batch)
        tokens = tokens.flatten(1, 2) if tokens.ndim == 4 else tokens[:, model.num_prefix_tokens :]
        torch.testing.assert_close(emb.feature_map.flatten(2).transpose(1, 2), tokens, rtol=1e-4, atol=1e-4)
        mean = torch.nn.functional.normalize(tokens.mean(1), dim=1)
        torch.testing.assert_close(emb.vector, mean, rtol=1e-4, atol=1e-5)
        if name.startswith(("vit", "eva")):
            assert emb.feature_map.shape[2:] == (height // step, width // step)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_closed_form_is_autograds(name: str) -> None:
    embedder = small(name).double()
    emb = embedder(torch.randn(2, 3, 112, 224, dtype=torch.float64))
    w = pair_weights(emb.vector, emb.vector.flip(0), same=True)
    for through_norm in (True, False):
        own, other = (attention_maps(embedder, emb, w, how, through_norm) for how in ("closed_form", "autograd"))
        torch.testing.assert_close(own, other, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_segments_by_layers_of_its_depth(name: str, rng: np.random.Generator) -> None:
    embedder = small(name)
    assert embedder.trunk.compared == ("blocks.2", "blocks.3")
    with torch.inference_mode():
        plain = embedder(torch.ones(1, 3, 112, 112))
        emb, layers = embedder.with_layers(torch.ones(1, 3, 112, 112), embedder.trunk.compared)
    assert torch.equal(plain.feature_map, emb.feature_map)
    assert torch.equal(layers["blocks.3"], emb.feature_map)
    images = rng.integers(0, 255, (2, 40, 56, 3), dtype=np.uint8)
    assert Segmenter(embedder).segment(images[0], images[1]).mask.shape == (40, 56)


def test_other_sizes_are_refused_with_the_nearest() -> None:
    embedder = small("vit_small_patch14_reg4_dinov2")
    for refused in (lambda: embedder.at_size(384), lambda: embedder(torch.zeros(1, 3, 384, 392))):
        with pytest.raises(ConfigError, match=r"384x\d+: .* multiples of 14, next to 384: 378 or 392$"):
            refused()
    assert embedder.at_size(378).preprocessing.size == 378
    with pytest.raises(ConfigError, match="256x256 alone"):
        PatchTrunk(None, 1, (256, 256)).check_size(224, 256)
    with pytest.raises(ConfigError, match="next to 100: 96 or 112"):
        build_embedder(EmbedderSpec("timm/vit_tiny_patch16_224", preprocessing=Preprocessing(100)), False)


def test_a_network_of_patches_stays_at_its_own_size() -> None:
    sizes = {"dinov2-small": 518, "dinov3-small": 256, "siglip-base": 224, "default": 384, "timm/convnext_atto": 384}
    assert {name: default_preprocessing(name).size for name in sizes} == sizes
    embedder = small("vit_tiny_patch16_224")
    assert for_retrieval(embedder) is embedder


def test_onnx_has_the_attention_at_another_size_than_the_networks_own() -> None:
    facts = export_onnx(small("vit_small_patch14_reg4_dinov2")).facts
    assert facts["outputs"]["attention"] == ["batch", 8, 8]


def test_bf16_is_near() -> None:
    embedder = small("vit_tiny_patch16_224")
    batch = torch.randn(2, 3, 112, 112)
    plain = embedder(batch).vector
    embedder.precision = "bf16"
    assert ((plain * embedder(batch).vector).sum(1) > 0.99).all()
