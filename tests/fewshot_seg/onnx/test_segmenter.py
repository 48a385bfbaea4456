"""The segmenter as ONNX: supports prepared by the graph itself, maps as the matching locator's in torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
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
from fewshot_seg.onnx.segmenter import export_segmenter
from fewshot_seg.prompts.constraints import Constraints
from fewshot_seg.segmentation.choice import choose_locator
from fewshot_seg.segmentation.segmenter import Segmenter, SegmenterOptions

Image = NDArray[np.uint8]
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
def written(embedder: Embedder, matcher: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for one support and one round."""
    path = tmp_path_factory.mktemp("onnx") / "one.onnx"
    options = SegmenterOptions(rounds=1)
    path.write_bytes(export_segmenter(embedder, shots=1, matcher=matcher, options=options).to_bytes())
    return path


def facts_of(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(onnx.load(path).metadata_props[0].value)
    return facts


def prepared(path: Path, embedder: Embedder, images: Sequence[Image]) -> list[NDArray[np.float32]]:
    """What the graph takes of supports, from its own encoded outputs."""
    nothing = [np.zeros(shape, np.float32) for shape in list(facts_of(path)["inputs"].values())[1:]]
    each = [run_onnx(path.read_bytes(), load_batch([one], embedder).numpy(), *nothing)[2:] for one in images]
    return [np.concatenate(part) for part in zip(*each, strict=True)]


def check(path: Path, embedder: Embedder, options: SegmenterOptions, masked: bool) -> None:
    """Maps and scores of a file are the matching locator's in torch."""
    facts, smooth = facts_of(path), np.ones((16, 12, 1), np.uint8)
    count = facts["inputs"]["shot_foreground"][0]
    noise = np.random.default_rng(0).integers(0, 256, (1 + count, 8, 8, 3), np.uint8)
    query, *shots = (np.kron(one, smooth) for one in noise)
    mask = np.zeros((128, 96), bool)
    mask[32:96, 24:72] = True
    choice = choose_locator(embedder, options)
    locator: Any = choice.locator
    extractor = FeatureExtractor(embedder, None, choice.matcher, choice.layers)
    asked, *shown = extractor.features([extractor.load(one, pixels=False) for one in (query, *shots)])
    known = Constraints(mask, ~mask) if masked else None
    state = locator.locator.prepare([[Example(one, known) for one in shown]])
    expected = locator.locator.locate(EncodedQuery(asked, (None,)), state)
    where = np.full((count, 8, 6), float(masked), np.float32)
    foreground = where * mask.reshape(8, 16, 6, 16).mean((1, 3), dtype=np.float32)
    batch, given = load_batch([query], embedder).numpy(), prepared(path, embedder, shots)
    maps, scores, *_ = run_onnx(path.read_bytes(), batch, *given, foreground, where)
    np.testing.assert_allclose(maps, expected.maps, atol=1e-4)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-4)
    if not masked:
        result = Segmenter(embedder, replace(options, meaning="kind")).segment(query, shots)
        np.testing.assert_allclose(maps[0], result.objects[0].attention_map, atol=1e-4)
    assert maps.max() - maps.min() > 1e-3


@pytest.mark.parametrize("masked", [False, True])
def test_maps_and_scores_are_the_matching_locator_s(
    embedder: Embedder, matcher: str, written: Path, masked: bool
) -> None:
    check(written, embedder, SegmenterOptions(matcher=matcher, rounds=1), masked)


@pytest.mark.networks
def test_the_command_writes_it_for_several_supports(embedder: Embedder, matcher: str, tmp_path: Path) -> None:
    save_checkpoint(embedder, tmp_path / "tiny.safetensors")
    out = tmp_path / "s.onnx"
    facts = run_export_onnx(
        OnnxRequest(str(tmp_path / "tiny.safetensors"), out, segmenter=True, shots=2, matcher=matcher)
    )
    assert facts["bytes"] == out.stat().st_size
    for masked in (False, True):
        check(out, embedder, SegmenterOptions(matcher=matcher), masked)


def test_the_file_says_what_goes_in_and_what_stays_outside(embedder: Embedder, written: Path) -> None:
    proto, facts = onnx.load(written), facts_of(written)
    onnx.checker.check_model(proto)
    assert [one.name for one in proto.graph.input] == list(facts["inputs"])
    assert [one.name for one in proto.graph.output] == list(facts["outputs"])
    assert facts["inputs"]["shot_kinds"][:2] == [1, KINDS]
    assert facts["outputs"]["maps"] == [1, 8, 6]
    assert "GrabCut" in facts["outside"]
    assert facts["largest_difference"] <= 1e-4
    assert Preprocessing.from_dict(facts["embedder"]["preprocessing"]) == embedder.preprocessing


def test_without_a_matcher_or_with_the_embedder_s_options_it_is_refused(embedder: Embedder) -> None:
    with pytest.raises(ConfigError, match="no matcher was trained for this embedder's weights"):
        export_segmenter(embedder)
    with pytest.raises(ConfigError, match="shots 0"):
        export_segmenter(embedder, shots=0)
    with pytest.raises(ConfigError, match="leave out --int8"):
        run_export_onnx(OnnxRequest("default", Path("one.onnx"), segmenter=True, int8=True))
