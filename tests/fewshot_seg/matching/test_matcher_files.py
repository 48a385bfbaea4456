"""Matchers in files: what goes in comes out, what does not fit is refused, "auto" is for the matcher's own weights."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fewshot_seg.errors import CheckpointError, ConfigError, OutputError
from fewshot_seg.matching.files import (
    KEY,
    MatcherHeader,
    backbone_digest,
    load_matcher,
    matcher_for,
    packaged,
    packaged_names,
    read_matcher_header,
    save_matcher,
)
from fewshot_seg.matching.matcher import Matcher, MatcherSpec
from fewshot_seg.network.embedder import Embedder, build_embedder
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.network.spec import EmbedderSpec

BACKBONE = "timm/test_efficientnet"
SPEC = MatcherSpec(BACKBONE, {"blocks.2": 32, "blocks.3": 48}, "blocks.3", 960, 4, 6, 5)


def embedder(classes: int = 10, **changes: str) -> Embedder:
    torch.manual_seed(0)
    return build_embedder(EmbedderSpec(BACKBONE, classes=classes, **changes), weights=False)  # type: ignore[arg-type]


def header(digest: str = "0") -> MatcherHeader:
    return MatcherHeader(SPEC, digest, {"held_out": ["bird"], "options": {"seed": 3}})


def saved(path: Path, digest: str = "0") -> Path:
    save_matcher(path, Matcher(SPEC), header(digest))
    return path


def test_a_matcher_comes_back_as_float16_has_it(tmp_path: Path) -> None:
    matcher = Matcher(SPEC)
    matcher.mean.uniform_(-3, 3)
    path = tmp_path / "below" / "m.safetensors"
    save_matcher(path, matcher, header("abc"))
    back = load_matcher(path)
    for name, value in matcher.state_dict().items():
        assert torch.equal(back.state_dict()[name], value.half().float())
    assert back.spec == SPEC
    assert not back.training
    assert not any(parameter.requires_grad for parameter in back.parameters())
    told = read_matcher_header(path)
    assert (told.spec, told.backbone_sha256, told.training["held_out"]) == (SPEC, "abc", ["bird"])
    assert told.version
    assert [file.name for file in path.parent.iterdir()] == ["m.safetensors"]


def test_bad_files_are_told_in_a_line(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.safetensors").read_bytes()
    tensors = {"a": torch.zeros(1)}
    texts = {
        "newer": {"format": 99},
        "lacking": {"format": 1},
        "wrong": {"format": 1, "version": "", "backbone_sha256": "", "training": {}, "matcher": {"layers": 3}},
    }
    for name, text in texts.items():
        save_file(tensors, tmp_path / f"{name}.safetensors", {KEY: json.dumps(text)})
    save_file(tensors, tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(good[:-10])
    (tmp_path / "text.safetensors").write_text("no tensors")
    expected = {
        "missing": "no such matcher",
        "other": "is no matcher",
        "cut": "damaged",
        "text": "damaged",
        "newer": "upgrade fewshot-seg",
        "lacking": "damaged header",
        "wrong": "matcher's description",
    }
    for name, message in expected.items():
        with pytest.raises(CheckpointError, match=message) as caught:
            load_matcher(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)


def test_tensors_must_fit_and_be_finite(tmp_path: Path) -> None:
    matcher = Matcher(SPEC)
    matcher.mean.fill_(1e6)  # more than float16 holds
    with pytest.raises(ConfigError, match="too large for float16: mean"):
        save_matcher(tmp_path / "m.safetensors", matcher, header())
    other = MatcherSpec(BACKBONE, {"blocks.2": 33}, "blocks.2", 960, 4, 6, 5)
    save_matcher(tmp_path / "n.safetensors", Matcher(SPEC), MatcherHeader(other, "0"))
    with pytest.raises(CheckpointError, match="mis-shaped"):
        load_matcher(tmp_path / "n.safetensors")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.safetensors"):
        save_matcher(tmp_path / "m.pth", Matcher(SPEC), header())
    with pytest.raises(ConfigError, match="no JSON"):
        save_matcher(tmp_path / "m.safetensors", Matcher(SPEC), MatcherHeader(SPEC, "0", {"a": {1, 2}}))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        saved(tmp_path / "file" / "m.safetensors")


def test_the_digest_is_that_of_trunk_and_classifier() -> None:
    first = embedder()
    digest = backbone_digest(first)
    assert digest == backbone_digest(first) == backbone_digest(embedder())
    assert digest == backbone_digest(embedder(pooling="gem"))
    assert digest != backbone_digest(embedder(classes=0))
    assert digest == backbone_digest(embedder().double())


def test_the_digest_follows_changes_in_place() -> None:
    one = embedder()
    before = backbone_digest(one)
    weight = next(one.trunk.parameters())
    with torch.no_grad():
        weight.mul_(2)
        assert backbone_digest(one) != before
        weight.div_(2)
    assert backbone_digest(one) == before
    with torch.inference_mode():
        inside = embedder()
        assert backbone_digest(inside) == before


def test_a_matcher_is_chosen_by_its_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = embedder().double()
    path = saved(tmp_path / "m.safetensors", backbone_digest(one))
    with caplog.at_level(logging.WARNING):
        found = matcher_for(one, path)
    assert isinstance(found, Matcher)
    assert found.mean.dtype == torch.float64
    assert not caplog.messages
    matcher_for(one, saved(tmp_path / "n.safetensors", "of others"))
    assert "trained over other weights" in caplog.text
    assert matcher_for(one, "none") is None
    assert matcher_for(one) is None  # none of the package's is for this network


def test_choices_that_cannot_be(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=f"for {BACKBONE}, not for timm/test_resnet"):
        matcher_for(build_embedder(EmbedderSpec("timm/test_resnet"), weights=False), path)
    with pytest.raises(ConfigError, match="classifier"):
        matcher_for(embedder(classes=0), path)
    with pytest.raises(CheckpointError, match="no matcher 'fold9': choose auto, none"):
        matcher_for(embedder(), "fold9")
    with pytest.raises(CheckpointError, match="no such matcher"):
        matcher_for(embedder(), tmp_path / "x.safetensors")


def test_the_packages_own_are_for_the_default_weights() -> None:
    assert packaged("no such") is None
    if not packaged_names():
        assert matcher_for(embedder()) is None
        return
    default = load_embedder("default", "cpu")
    assert isinstance(matcher_for(default), Matcher)
    for name in packaged_names():
        path = packaged(name)
        assert path is not None
        assert read_matcher_header(path).backbone_sha256 == backbone_digest(default)
        assert path.stat().st_size < 12 * 2**20
    with torch.no_grad():
        next(default.trunk.parameters()).mul_(1.5)
    assert matcher_for(default) is None  # fine-tuned since
