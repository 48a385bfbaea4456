"""The segmenter as ONNX: supports prepared by the graph itself, maps as the matching locator's in torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from fewshot_seg.commands.export_onnx import OnnxRequest, run_export_onnx
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing, load_batch
from fewshot_seg.matching.features import FeatureExtractor
from fewshot_seg.matching.files import MatcherHeader, backbone_digest, save_matcher
from fewshot_seg.matching.locators import EncodedQuery, Example
from fewshot_seg.matching.matcher import Matcher, MatcherSpec
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, save_checkpoint
from fewshot_seg.onnx.export import run_onnx
from fewshot_seg.onnx.segmenter import WithMatcher, export_segmenter
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.segmentation.choice import choose_locator
from fewshot_seg.segmentation.segmenter import Segmenter, SegmenterOptions

KINDS = 3


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    spec = EmbedderSpec("timm/test_efficientnet", preprocessing=Preprocessing(size=128, width=96), classes=5)
    return build_embedder(spec, weights=False).requires_grad_(False)


@pytest.fixture(scope="module")
def matcher(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    with torch.no_grad():
        feature_map, layers = embedder.trunk.layers(torch.zeros(1, 3, 128, 96))  # type: ignore[operator]
    read = {name: layers[name].shape[1] for name in list(layers)[-3:]}
    grid = next(name for name in read if layers[name].shape[2] == 8)
    spec = MatcherSpec(embedder.spec.backbone, read, grid, feature_map.shape[1], 4, 6, 5, KINDS)
    path = tmp_path_factory.mktemp("matcher") / "tiny.safetensors"
    save_matcher(path, Matcher(spec), MatcherHeader(spec, backbone_digest(embedder)))
    return str(path)


@pytest.fixture(scope="module")
def locator(embedder: Embedder, matcher: str) -> Any:
    return choose_locator(embedder, SegmenterOptions(matcher=matcher)).locator


Model = Callable[..., Sequence[NDArray[np.float32]]]


def check(run: Model, shapes: Sequence[Sequence[int]], embedder: Embedder, matcher: str, masked: bool) -> None:
    """Maps and scores of a model are the matching locator's in torch, for supports that the model prepared itself."""
    count, smooth = shapes[-1][0], np.ones((16, 12, 1), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (1 + count, 8, 8, 3), np.uint8)
    query, *shots = (np.kron(one, smooth) for one in noise)
    nothing = [np.zeros(shape, np.float32) for shape in shapes[1:]]
    each = [run(load_batch([one], embedder).numpy(), *nothing)[2:] for one in shots]
    given = [np.concatenate(part) for part in zip(*each, strict=True)]
    mask = np.zeros((128, 96), bool)
    mask[32:96, 24:72] = True
    where = np.full((count, 8, 6), float(masked), np.float32)
    foreground = where * mask.reshape(8, 16, 6, 16).mean((1, 3), dtype=np.float32)
    maps, scores, *_ = run(load_batch([query], embedder).numpy(), *given, foreground, where)
    options = SegmenterOptions(matcher=matcher, meaning="kind")
    choice = choose_locator(embedder, options)
    inner: Any = choice.locator
    extractor = FeatureExtractor(embedder, None, choice.matcher, choice.layers)
    asked, *shown = extractor.features([extractor.load(one, pixels=False) for one in (query, *shots)])
    known = Constraints(mask, ~mask) if masked else None
    state = inner.locator.prepare([[Example(one, known) for one in shown]])
    expected = inner.locator.locate(EncodedQuery(asked, (None,)), state)
    np.testing.assert_allclose(maps, expected.maps, atol=1e-4)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-4)
    if not masked:
        found = Segmenter(embedder, options).segment(query, shots).objects[0]
        np.testing.assert_allclose(maps[0], found.attention_map, atol=1e-4)
    assert maps.max() - maps.min() > 1e-3


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shots", [1, 2])
def test_what_goes_out_is_the_matching_locator(
    embedder: Embedder, matcher: str, locator: Any, masked: bool, shots: int
) -> None:
    model = WithMatcher(embedder, locator.locator).eval()
    shapes = [tuple(one.shape) for one in model.example((128, 96), shots, 0)]
    assert len(shapes) == len(model.inputs)

    def run(*inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            return [one.numpy() for one in model(*map(torch.from_numpy, inputs))]

    check(run, shapes, embedder, matcher, masked)


@pytest.mark.networks
@pytest.mark.parametrize("shots", [1, 2])
def test_the_command_writes_it_and_onnxruntime_agrees(
    embedder: Embedder, matcher: str, tmp_path: Path, shots: int
) -> None:
    save_checkpoint(embedder, tmp_path / "tiny.safetensors")
    weights, out = str(tmp_path / "tiny.safetensors"), tmp_path / "s.onnx"
    written = run_export_onnx(OnnxRequest(weights, out, segmenter=True, shots=shots, matcher=matcher))
    proto = onnx.load(out)
    onnx.checker.check_model(proto)
    facts = json.loads(proto.metadata_props[0].value)
    assert written == {**facts, "bytes": out.stat().st_size}
    assert [one.name for one in proto.graph.input] == list(facts["inputs"])
    assert [one.name for one in proto.graph.output] == list(facts["outputs"])
    assert facts["inputs"]["shot_kinds"][:2] == [shots, KINDS]
    assert facts["outputs"]["maps"] == [1, 8, 6]
    assert "GrabCut" in facts["outside"]
    assert facts["largest_difference"] <= 1e-4
    assert Preprocessing.from_dict(facts["embedder"]["preprocessing"]) == embedder.preprocessing
    for masked in (False, True):
        check(partial(run_onnx, out.read_bytes()), list(facts["inputs"].values()), embedder, matcher, masked)


def test_without_a_matcher_or_with_the_embedder_s_options_it_is_refused(embedder: Embedder) -> None:
    with pytest.raises(ConfigError, match="no matcher was trained for this embedder's weights"):
        export_segmenter(embedder)
    with pytest.raises(ConfigError, match="shots 0"):
        export_segmenter(embedder, shots=0)
    with pytest.raises(ConfigError, match="leave out --int8"):
        run_export_onnx(OnnxRequest("default", Path("one.onnx"), segmenter=True, int8=True))
