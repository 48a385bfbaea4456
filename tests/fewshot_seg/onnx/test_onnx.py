"""Embedders as ONNX models: onnxruntime says what torch says, the file how to use it, int8 what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import pair_weights
from fewshot_seg.commands.export_onnx import OnnxRequest, run_export_onnx
from fewshot_seg.errors import CheckpointError, ConfigError, DataError
from fewshot_seg.imaging.images import Preprocessing, load_batch
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, save_checkpoint
from fewshot_seg.onnx.export import TOLERANCE, OnnxModel, WithAttention, export_onnx, largest_difference, run_onnx
from fewshot_seg.onnx.int8 import agreement, quantized

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    spec = EmbedderSpec("timm/test_efficientnet", "gem", "linear+bn", 8, Preprocessing(size=64, width=32))
    made = build_embedder(spec, weights=False).requires_grad_(False)
    assert isinstance(made.head.bn, nn.BatchNorm1d)
    nn.init.uniform_(made.head.bn.running_var, 0.5, 2)  # type: ignore[arg-type]
    return made


@pytest.fixture(scope="module")
def model(embedder: Embedder) -> OnnxModel:
    return export_onnx(embedder, through_norm=True)


@pytest.fixture
def images(rng: np.random.Generator) -> list[Image]:
    """Smooth ones, each of its own colours."""
    small = rng.integers(0, 256, (6, 4, 4, 3), np.uint8)
    return [np.kron(one, np.ones((20, 10, 1), np.uint8)) for one in small]


def test_vectors_maps_and_attention_for_any_batch(embedder: Embedder, model: OnnxModel, images: list[Image]) -> None:
    batch = load_batch(images[:5], embedder)
    with torch.no_grad():
        emb = embedder(batch)
        partners = emb.vector.roll(1, 0)
        w = pair_weights(emb.vector, partners, same=True)
    expected = attention_maps(embedder, emb, w, method="autograd", through_norm=True)  # the graph has the closed form
    vectors, maps, attention = run_onnx(model.to_bytes(), batch.numpy(), partners.numpy())
    np.testing.assert_allclose(vectors, emb.vector.numpy(), atol=1e-4)
    np.testing.assert_allclose(maps, emb.feature_map.numpy(), atol=1e-4)
    np.testing.assert_allclose(attention, expected.numpy(), atol=1e-4)
    assert attention.max() > 0
    alone = run_onnx(model.to_bytes(), batch[2:3].numpy(), partners[2:3].numpy())
    np.testing.assert_allclose(alone[2][0], attention[2], atol=1e-5)


def test_the_file_says_how_to_use_it(embedder: Embedder, model: OnnxModel) -> None:
    proto = onnx.load_from_string(model.to_bytes())
    onnx.checker.check_model(proto)
    (entry,) = proto.metadata_props
    facts = json.loads(entry.value)
    assert entry.key == "fewshot_seg"
    assert Preprocessing.from_dict(facts["embedder"]["preprocessing"]) == embedder.preprocessing
    assert facts["inputs"] == {"images": ["batch", 3, 64, 32], "partners": ["batch", 8]}
    assert facts["outputs"]["attention"][1:] == facts["outputs"]["feature_maps"][2:]
    assert facts["through_norm"] is True
    assert facts["largest_difference"] <= 1e-4
    names = [one.name for one in (*proto.graph.input, *proto.graph.output)]
    assert names == ["images", "partners", "vectors", "feature_maps", "attention"]


def test_another_network_is_not_taken_for_this_one(embedder: Embedder, model: OnnxModel) -> None:
    inputs = torch.randn(2, 3, 64, 32), torch.nn.functional.normalize(torch.randn(2, 8), dim=1)
    assert largest_difference(model.to_bytes(), WithAttention(embedder, True), inputs) <= TOLERANCE
    assert largest_difference(model.to_bytes(), WithAttention(embedder, False), inputs) > TOLERANCE
    twin = build_embedder(embedder.spec, weights=False)
    assert largest_difference(model.to_bytes(), WithAttention(twin, True), inputs) > TOLERANCE


class _Bare(nn.Module):
    def forward(self, feature_map: Tensor) -> Tensor:
        return nn.functional.normalize(feature_map.mean((2, 3)), dim=1)


def test_a_head_without_a_closed_form(embedder: Embedder) -> None:
    other = Embedder(
        embedder.trunk, _Bare(), EmbedderSpec("timm/test_efficientnet", dim=256, preprocessing=Preprocessing(64))
    )
    with pytest.raises(ConfigError, match="has no closed form"):
        export_onnx(other)


def test_int8_tells_what_it_costs(embedder: Embedder, model: OnnxModel, images: list[Image]) -> None:
    small = quantized(model, embedder, images)
    assert small.facts["precision"] == "int8"
    found = small.facts["agreement"]
    assert found["images"] == 3
    assert 0.5 < found["lowest_cosine"] <= found["mean_cosine"] < 1.0
    assert any(node.op_type == "QuantizeLinear" for node in small.proto.graph.node)
    batches = [load_batch([image], embedder).numpy() for image in images[1::2]]
    assert agreement(model, small, batches, 8) == found
    same = agreement(model, model, batches, 8)
    assert same["lowest_cosine"] == pytest.approx(1)
    assert same["largest_change_between_images"] == 0
    with pytest.raises(DataError, match="3 images to find the ranges"):
        quantized(model, embedder, images[:3])


def test_the_command_writes_the_file(embedder: Embedder, tmp_path: Path) -> None:
    save_checkpoint(embedder, tmp_path / "tiny.safetensors")
    out = tmp_path / "new" / "tiny.onnx"
    facts = run_export_onnx(OnnxRequest(str(tmp_path / "tiny.safetensors"), out, int8=True))
    assert facts["bytes"] == out.stat().st_size
    assert facts["precision"] == "int8"
    assert [path.name for path in out.parent.iterdir()] == ["tiny.onnx"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (OnnxRequest("default", Path("model.pt")), "must end in .onnx"),
        (OnnxRequest("default", Path("model.onnx"), images=["photos"]), "give --int8, too"),
        (OnnxRequest("nothing.safetensors", Path("model.onnx")), "nothing.safetensors"),
    ],
)
def test_impossible_requests(request_: OnnxRequest, message: str) -> None:
    with pytest.raises((ConfigError, CheckpointError), match=message):
        run_export_onnx(request_)
    assert not request_.out.exists()
