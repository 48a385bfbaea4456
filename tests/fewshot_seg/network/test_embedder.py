"""The embedder: shapes, types, determinism, and the default's real weights on real photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor, nn

from fewshot_seg.errors import CheckpointError, ConfigError, DataError, ShapeError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.catalogue import CATALOGUE
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, load_embedder, models

SMALL = Preprocessing(size=64)


@pytest.fixture(scope="module")
def default() -> Embedder:
    return load_embedder("default", device="cpu")


@pytest.fixture
def small() -> Embedder:
    """A light network with random weights."""
    return build_embedder(EmbedderSpec("timm/mobilenetv3_small_050", "gem", "linear+bn", 8, SMALL), weights=False)


def test_default_knows_what_it_sees(default: Embedder) -> None:
    assert default.classifier is not None
    at_224 = replace(default.spec, preprocessing=Preprocessing(size=224))  # the size of its training
    embedder = Embedder(default.trunk, default.head, at_224, default.classifier).eval()
    feature_map, _ = embedder.embed([skimage.data.chelsea(), skimage.data.coffee()])
    probabilities = default.classifier(feature_map.mean((2, 3))).softmax(1)
    assert probabilities[0, 285].item() > 0.7  # Egyptian cat
    assert probabilities[1, 967].item() > 0.7  # espresso


def test_default_is_frozen_and_normalised(default: Embedder) -> None:
    assert not default.training
    assert not any(parameter.requires_grad for parameter in default.parameters())
    embedding = default(torch.randn(2, 3, 96, 160))
    assert embedding.feature_map.shape == (2, 1280, 3, 5)
    assert embedding.vector.shape == (2, default.dim) == (2, 1280)
    assert not embedding.vector.requires_grad
    torch.testing.assert_close(embedding.vector.norm(dim=1), torch.ones(2))
    assert default.device == torch.device("cpu")
    assert default.preprocessing == default.spec.preprocessing == Preprocessing(size=384)


def test_alone_or_in_a_batch_is_the_same_to_the_bit(default: Embedder) -> None:
    batch = torch.randn(8, 3, 128, 128)
    with torch.inference_mode():
        together = default(batch)
        for i in range(8):
            alone = default(batch[i : i + 1])
            assert torch.equal(alone.feature_map[0], together.feature_map[i])
            assert torch.equal(alone.vector[0], together.vector[i])


def test_double(small: Embedder) -> None:
    embedding = small.double()(torch.rand(2, 3, 64, 64))
    assert small.dtype == embedding.feature_map.dtype == embedding.vector.dtype == torch.float64


def test_bf16_comes_close_and_gives_float32(default: Embedder) -> None:
    batch = torch.randn(2, 3, 128, 128)
    reduced = Embedder(default.trunk, default.head, default.spec, precision="bf16").eval()
    exact, close = default(batch), reduced(batch)
    assert close.feature_map.dtype == close.vector.dtype == torch.float32
    assert not torch.equal(exact.vector, close.vector)
    assert (exact.vector * close.vector).sum(1).min().item() > 0.99
    with pytest.raises(ConfigError, match="needs a GPU"):
        load_embedder("default", device="cpu", precision="fp16")


def test_embed_streams_in_order_whatever_the_batch_size(small: Embedder) -> None:
    images = [np.full((20 + i, 30, 3), 40 * i, np.uint8) for i in range(5)]
    whole = small.embed(images)
    parts = small.embed(images, batch_size=2)
    assert torch.equal(whole.vector, parts.vector)
    assert torch.equal(whole.feature_map, parts.feature_map)
    assert whole.vector.is_inference()
    with pytest.raises(DataError, match="no images"):
        small.embed([])
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        small.embed(images, batch_size=0)


@pytest.mark.parametrize("shape", [(3, 64, 64), (0, 3, 64, 64), (1, 1, 64, 64)])
def test_wrong_batches(small: Embedder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected images of shape \(B, 3, H, W\)"):
        small(torch.zeros(shape))


def test_training_sees_the_batch_whole(small: Embedder) -> None:
    assert all(parameter.requires_grad for parameter in small.parameters())
    small.train()
    embedding = small(torch.randn(4, 3, 64, 64))
    embedding.vector[:, 0].sum().backward()
    assert small.get_parameter("head.p").grad is not None


def test_gradients_reach_the_image_in_eval(small: Embedder) -> None:
    batch = torch.randn(3, 3, 64, 64, requires_grad=True)
    small(batch).vector[:, 0].sum().backward()
    assert batch.grad is not None
    assert batch.grad.abs().sum().item() > 0


def test_any_module_is_a_head() -> None:
    class Corner(nn.Module):
        def forward(self, feature_map: Tensor) -> Tensor:
            return nn.functional.normalize(feature_map[:, :, 0, 0], dim=1)

    trunk = nn.Conv2d(3, 5, 3)
    embedder = Embedder(trunk, Corner(), EmbedderSpec("mine", dim=5, preprocessing=SMALL))
    assert embedder(torch.rand(2, 3, 8, 8)).vector.shape == (2, 5)
    assert embedder.dim == 5
    with pytest.raises(ConfigError, match=r"set EmbedderSpec\.dim"):
        _ = Embedder(trunk, Corner(), EmbedderSpec("mine")).dim


def test_spec_round_trip_and_its_errors() -> None:
    spec = EmbedderSpec("timm/resnet18", "gem", "linear", 64, SMALL, classes=7)
    assert EmbedderSpec.from_dict(spec.to_dict()) == spec
    for change, message in (
        ({"backbone": 3}, "backbone cannot be 3"),
        ({"dim": True}, "dim cannot be True"),
        ({"dim": 10**12}, "dim must be 1 to 65536"),
        ({"classes": -1}, "number of classes"),
        ({"colour": "red"}, "unknown entry 'colour'"),
    ):
        with pytest.raises(ConfigError, match=message):
            EmbedderSpec.from_dict({**spec.to_dict(), **change})
    with pytest.raises(ConfigError, match="lacks backbone, preprocessing"):
        EmbedderSpec.from_dict({})


def test_spec_is_filled_in(small: Embedder) -> None:
    assert build_embedder(EmbedderSpec("resnet18", preprocessing=SMALL), weights=False).spec.dim == 512
    assert small.spec.backbone == "timm/mobilenetv3_small_050"
    assert small.spec.classes == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "defualt",
            r"unknown network 'defualt': the nearest are default; weights are default, lite0, lite1, lite2, paper",
        ),
        ("timm/nosuchnet", "unknown network 'timm/nosuchnet'"),
        ("no/such/file.safetensors", r"no such checkpoint: no/such/file\.safetensors"),
        ("file.pth", r"no such checkpoint: file\.pth"),
    ],
)
def test_unknown_weights(name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_embedder(name, device="cpu")
    assert "\n" not in str(caught.value)


def test_models_tells_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    table = {model.name: model for model in models()}
    assert list(table) == list(CATALOGUE)
    assert table["dinov2-small"].note in ("", "fewshot-seg models get dinov2-small")
    assert table["default"].present
    assert table["default"].size == 24_666_229
    assert not table["paper"].present
    assert "resnet50-0676ba61.pth" in table["paper"].note
    assert table["paper"].backbone == "torchvision/resnet50"


def test_layers_come_with_the_very_same_embedding(default: Embedder) -> None:
    batch = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain = default(batch)
        emb, layers = default.with_layers(batch, ["blocks.2", "blocks.4", "no such layer"])
    assert torch.equal(plain.feature_map, emb.feature_map)
    assert torch.equal(plain.vector, emb.vector)
    assert {name: tuple(layer.shape) for name, layer in layers.items()} == {
        "blocks.2": (2, 48, 8, 8),
        "blocks.4": (2, 120, 4, 4),
    }
