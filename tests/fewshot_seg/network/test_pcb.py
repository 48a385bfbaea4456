"""The part-based head: stripes and refined parts against loops, the stripes' closed form against autograd."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.errors import ConfigError, ShapeError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.checkpoints import load_checkpoint, save_checkpoint
from fewshot_seg.network.embedder import build_embedder
from fewshot_seg.network.embedding import Embedding
from fewshot_seg.network.pcb import PCBHead
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.segmentation.segmenter import Segmenter

C = 5


def make_head(
    pooling: str = "avg", neck: str | None = "linear+bn", stripes: int = 3, refining: bool = False
) -> PCBHead:
    """In float64, every parameter other than at its start."""
    torch.manual_seed(0)
    head = PCBHead(C, stripes, pooling, neck, 4 if neck in ("linear", "linear+bn") else None, refining).double()
    for norm in (m for m in head.modules() if isinstance(m, nn.BatchNorm1d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        norm.running_mean = torch.randn(norm.num_features, dtype=torch.float64)
        norm.running_var = torch.rand(norm.num_features, dtype=torch.float64) + 0.1
    return head.eval()


def a_map(h: int = 7, w: int = 2, batch: int = 3) -> Tensor:
    return torch.randn(batch, C, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).relu()


@pytest.mark.parametrize("through_norm", [True, False])
@pytest.mark.parametrize("rows", [6, 7, 2])
@pytest.mark.parametrize(
    ("pooling", "neck"), list(itertools.product(["avg", "max", "avg+max", "gem"], [None, "linear", "bn", "linear+bn"]))
)
def test_the_closed_form_is_autograd(pooling: str, neck: str | None, rows: int, through_norm: bool) -> None:
    """Stripes of equal height, stripes that overlap by a row, and fewer rows than stripes."""
    head, feature_map = make_head(pooling, neck), a_map(rows)
    emb = Embedding(feature_map, head(feature_map).detach())
    embedder: Any = SimpleNamespace(head=head)
    w = torch.randn(3, head.dim, dtype=torch.float64)
    closed, autograd = (attention_maps(embedder, emb, w, m, through_norm) for m in ("closed_form", "autograd"))
    assert (closed - autograd).abs().max() < 1e-10
    assert (attention_maps(embedder, emb, w, "auto", through_norm) == closed).all()
    assert closed.sum() > 0


def test_the_closed_form_is_differentiable_in_everything() -> None:
    head, feature_map = make_head(), a_map().requires_grad_()
    u = torch.randn(3, head.dim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, v: head.averaged_gradient(a.square(), v), (feature_map, u))


def test_where_there_is_no_closed_form() -> None:
    head = make_head()
    u = torch.randn(3, head.dim, dtype=torch.float64)
    assert not head.train().has_closed_form
    with pytest.raises(ConfigError, match=r"call head\.eval"):
        head.averaged_gradient(a_map(), u)
    with pytest.raises(ShapeError, match=r"expected u of shape \(B, 12\)"):
        head.eval().averaged_gradient(a_map(), u[:, 1:])
    refined = make_head(refining=True)
    assert refined.has_closed_form, "as long as its parts are stripes"
    refined.refined.fill_(1)
    with pytest.raises(ConfigError, match="no closed form for refined parts"):
        refined.averaged_gradient(a_map(), u)
    emb = Embedding(a_map(), refined(a_map()).detach())
    embedder: Any = SimpleNamespace(head=refined)
    with pytest.raises(ConfigError, match="has no closed form"):
        attention_maps(embedder, emb, u, "closed_form")
    assert attention_maps(embedder, emb, u).shape == (3, 7, 2)


def test_refined_parts_against_a_loop() -> None:
    head, feature_map = make_head(refining=True), a_map()
    stripes = head.pool(feature_map)
    head.refined.fill_(1)
    assert head.assign is not None
    weight, bias = head.assign.weight[:, :, 0, 0], head.assign.bias
    assert bias is not None
    for b in range(3):
        sums, totals = torch.zeros(3, C, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for i, j in itertools.product(range(7), range(2)):
            column = feature_map[b, :, i, j]
            share = (weight @ column + bias).softmax(0)
            sums += share[:, None] * column
            totals += share
        torch.testing.assert_close(head.pool(feature_map)[b], sums / totals[:, None])
    assert not torch.allclose(stripes, head.pool(feature_map))


def test_impossible_heads() -> None:
    with pytest.raises(ConfigError, match="use pooling avg, not gem"):
        PCBHead(C, pooling="gem", refining=True)
    with pytest.raises(ConfigError, match="at least one stripe"):
        PCBHead(C, 0)
    with pytest.raises(ConfigError, match="set stripes"):
        EmbedderSpec("default", refining=True)
    with pytest.raises(ConfigError, match="last_stride must be 1 or 2"):
        EmbedderSpec("default", last_stride=3)


def test_a_refining_head_last_stride_and_a_rectangle_in_a_file(tmp_path: Path) -> None:
    preprocessing = Preprocessing(size=128, width=64)
    spec = EmbedderSpec("timm/test_efficientnet", "avg", "linear+bn", 8, preprocessing, 0, 2, True, 1)
    embedder = build_embedder(spec, weights=False)
    assert isinstance(embedder.head, PCBHead)
    embedder.head.refined.fill_(1)
    save_checkpoint(embedder, tmp_path / "a.safetensors")
    loaded = load_checkpoint(tmp_path / "a.safetensors", "cpu")
    assert loaded.spec == embedder.spec
    images = torch.randn(2, 3, 128, 64)
    with torch.no_grad():  # both by their folded copies
        assert torch.equal(loaded(images).vector, embedder(images).vector)
    assert loaded(images).feature_map.shape[2:] == (8, 4)
    assert isinstance(loaded.head, PCBHead)
    assert loaded.head.is_refined


def test_parts_over_a_rectangle_segment_too() -> None:
    spec = EmbedderSpec("timm/test_efficientnet", "avg", "linear", 8, Preprocessing(64, width=32), 0, 2, False, 1)
    segmenter = Segmenter(build_embedder(spec, weights=False))
    query, support = np.random.default_rng(0).integers(0, 255, (2, 50, 30, 3)).astype(np.uint8)
    assert segmenter.segment(query, support).mask.shape == (50, 30)


def test_a_plain_spec_is_written_as_ever() -> None:
    """So that older versions read what they can build."""
    spec = EmbedderSpec("default", preprocessing=Preprocessing(size=64))
    keys = {"backbone", "pooling", "neck", "dim", "classes", "preprocessing"}
    assert spec.to_dict().keys() == keys
    assert spec.to_dict()["preprocessing"].keys() == {"size", "mean", "std", "interpolation"}
    full = EmbedderSpec("default", "avg", "linear", 8, Preprocessing(64, width=32), 0, 2, True, 1)
    assert EmbedderSpec.from_dict(full.to_dict()) == full
    for wrong in ({"refining": 1}, {"last_stride": True}, {"stripes": False}):
        with pytest.raises(ConfigError, match="cannot be"):
            EmbedderSpec.from_dict(full.to_dict() | wrong)
