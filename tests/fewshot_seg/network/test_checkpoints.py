"""Checkpoints: what is saved comes back; everything else is refused in one line and never run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fewshot_seg.errors import CheckpointError, ConfigError, OutputError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.checkpoints import (
    FORMAT,
    HEADER_KEY,
    load_checkpoint,
    load_legacy_state_dict,
    read_header,
    save_checkpoint,
)
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, load_embedder
from tests.privileges import folder_for_everyone, unprivileged

SPEC = EmbedderSpec(
    "timm/mobilenetv3_small_050", "gem", "linear+bn", 8, Preprocessing(size=64, interpolation="bicubic"), classes=3
)


@pytest.fixture
def embedder() -> Embedder:
    return build_embedder(SPEC, weights=False)


@pytest.fixture
def saved(embedder: Embedder, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(embedder, path, {"loss": "triplet", "epochs": 3})
    return path


def rewrite(path: Path, header: Any, tensors: dict[str, Tensor] | None = None) -> None:
    """The file again with another header or other tensors."""
    metadata = None if header is None else {HEADER_KEY: header if isinstance(header, str) else json.dumps(header)}
    save_file(load_file(path) if tensors is None else tensors, path, metadata)


def header_of(path: Path) -> dict[str, Any]:
    known = read_header(path)
    return {"format": FORMAT, "version": known.version, "embedder": known.spec.to_dict(), "training": None}


def refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_embedder(path, device="cpu")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_round_trip(embedder: Embedder, saved: Path) -> None:
    loaded = load_embedder(saved, device="cpu")
    assert loaded.spec == embedder.spec
    assert loaded.spec.preprocessing == SPEC.preprocessing
    batch = torch.rand(2, 3, 64, 64)
    with torch.no_grad():  # both by their folded copies
        assert torch.equal(loaded(batch).vector, embedder(batch).vector)
    assert loaded.classifier is not None
    assert embedder.classifier is not None
    assert torch.equal(loaded.classifier.weight, embedder.classifier.weight)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_any_length_of_the_header(embedder: Embedder, tmp_path: Path) -> None:
    """A file begins with that length, a multiple of 8; where its lowest byte is 0x80, it begins as pickles do."""
    path, begun = tmp_path / "model.safetensors", set()
    for length in range(0, 256, 8):
        save_checkpoint(embedder, path, {"note": "x" * length})
        begun.add(path.read_bytes()[0])
        read_header(path)
    assert 0x80 in begun


def test_header(saved: Path) -> None:
    header = read_header(saved)
    assert header.training == {"loss": "triplet", "epochs": 3}
    assert header.version


def test_default_survives_the_round_trip(tmp_path: Path) -> None:
    default = load_embedder("default", device="cpu")
    save_checkpoint(default, tmp_path / "sub" / "default.safetensors")
    loaded = load_checkpoint(tmp_path / "sub" / "default.safetensors", "cpu")
    batch = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(batch).vector, default(batch).vector)
    assert loaded.spec == default.spec


def test_saving_replaces_whole_and_leaves_nothing_else(embedder: Embedder, saved: Path) -> None:
    with torch.no_grad():
        next(embedder.parameters()).add_(1)
    save_checkpoint(embedder, saved)
    assert torch.equal(next(load_checkpoint(saved, "cpu").parameters()), next(embedder.parameters()))
    assert os.listdir(saved.parent) == [saved.name]  # noqa: PTH208


def test_channels_last_and_double_are_saved(embedder: Embedder, tmp_path: Path) -> None:
    embedder.to(memory_format=torch.channels_last).double()  # type: ignore[call-overload]
    save_checkpoint(embedder, tmp_path / "a.safetensors")
    loaded = load_checkpoint(tmp_path / "a.safetensors", "cpu")
    assert loaded.dtype == torch.float32


def test_unwritable_places(embedder: Embedder, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"cannot write .*file/model"):
        save_checkpoint(embedder, tmp_path / "file" / "model.safetensors")
    folder = tmp_path / "model.safetensors"
    folder.mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        save_checkpoint(embedder, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model.safetensors"]


def test_read_only_folder(embedder: Embedder) -> None:
    with folder_for_everyone() as folder:
        folder.chmod(0o555)
        with unprivileged(), pytest.raises(OutputError, match="cannot write"):
            save_checkpoint(embedder, folder / "model.safetensors")
        assert not list(folder.iterdir())


def test_full_disk(embedder: Embedder, saved: Path) -> None:
    resource = pytest.importorskip("resource")  # a limit on a file's size stands for the disk that is full
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            save_checkpoint(embedder, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_what_cannot_be_saved(embedder: Embedder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.safetensors, got"):
        save_checkpoint(embedder, tmp_path / "model.pth")
    with pytest.raises(ConfigError, match="training configuration holds values that are no JSON"):
        save_checkpoint(embedder, tmp_path / "a.safetensors", {"path": tmp_path})
    with pytest.raises(ConfigError, match="training configuration"):
        save_checkpoint(embedder, tmp_path / "a.safetensors", {"lr": float("nan")})
    embedder.head = nn.Flatten()
    with pytest.raises(
        ConfigError, match="cannot save a Flatten: a checkpoint can describe a PooledHead or PCBHead only"
    ):
        save_checkpoint(embedder, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 4, 8, 200, -1, -100])
def test_truncated(saved: Path, kept: int) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[:kept])
    refused(saved, "damaged or no safetensors file")


def test_not_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("hello, I am a text file\n" * 20)
    refused(path, "damaged or no safetensors file")
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    refused(folder, "cannot read .*: Is a directory")


def test_foreign_safetensors(saved: Path) -> None:
    rewrite(saved, None)
    refused(saved, "has no fewshot-seg header")


def test_newer_format(saved: Path) -> None:
    rewrite(saved, {**header_of(saved), "format": FORMAT + 1, "version": "9.0", "embedder": "unheard of"})
    refused(saved, rf"has format {FORMAT + 1}, written by fewshot-seg 9\.0; .* upgrade fewshot-seg")


@pytest.mark.parametrize(
    "change",
    [
        {"embedder": None},
        {"embedder": {}},
        {"format": "one"},
        {"format": 0},
        {"training": 5},
        {"embedder": {"backbone": "timm/resnet18", "preprocessing": {"size": -1}}},
        {"embedder": {"backbone": "timm/resnet18", "preprocessing": {}, "dim": 10**15}},
    ],
)
def test_damaged_header(saved: Path, change: dict[str, Any]) -> None:
    rewrite(saved, {**header_of(saved), **change})
    refused(saved, "has a damaged header")


def test_header_that_is_no_json(saved: Path) -> None:
    rewrite(saved, "{")
    refused(saved, "has a damaged header")


@pytest.mark.parametrize("name", ["timm/hf-hub:someone/model", "timm/local-dir:/etc", "timm/nosuch"])
def test_header_cannot_name_outside_networks(saved: Path, name: str) -> None:
    header = header_of(saved)
    rewrite(saved, {**header, "embedder": {**header["embedder"], "backbone": name}})
    refused(saved, "cannot be built here: unknown network")


def test_another_architecture(saved: Path) -> None:
    header = header_of(saved)
    rewrite(saved, {**header, "embedder": {**header["embedder"], "backbone": "timm/resnet10t"}})
    refused(saved, r"does not fit the network: it lacks trunk\.model\.conv1\.0\.weight, .* and [0-9]+ more")
    rewrite(saved, {**header, "embedder": {**header["embedder"], "dim": 9}})
    refused(saved, r"has mis-shaped head\.linear\.weight \(8, 288\) \(should be \(9, 288\)\)")
    rewrite(saved, header, {**load_file(saved), "extra": torch.zeros(1)})
    refused(saved, "has unexpected extra")


def test_nan_weights(saved: Path) -> None:
    tensors, header = load_file(saved), header_of(saved)
    tensors["head.linear.bias"][2] = float("nan")
    rewrite(saved, header, tensors)
    refused(saved, r"has NaN or infinite values in head\.linear\.bias")


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_pickle_never_runs(tmp_path: Path, suffix: str, writer: str) -> None:
    target, path = tmp_path / "owned", tmp_path / f"model{suffix}"
    if writer == "torch":
        torch.save({"state_dict": Payload(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(target)))
    refused(path, r"is a PyTorch file, which may carry code, .* `train-embed import-weights`")
    with pytest.raises(CheckpointError, match=r"holds more than tensors.*; it was not loaded"):
        load_legacy_state_dict(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Payload(target)))  # noqa: S301 - the payload is a real one
    assert target.exists()


def test_legacy_state_dicts(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    state = {
        "module.base.conv.weight": torch.ones(1),
        "module.base.bn.bias": torch.zeros(2),
        "module.fc.bias": torch.ones(3),
    }
    names = {"base.": "trunk.", "base.bn.": "trunk.norm.", "fc.": None}
    for content in (state, {"state_dict": state, "epoch": 3}, {"model": state}):
        torch.save(content, path)
        assert sorted(load_legacy_state_dict(path, names)) == ["trunk.conv.weight", "trunk.norm.bias"]
    assert sorted(load_legacy_state_dict(path)) == ["base.bn.bias", "base.conv.weight", "fc.bias"]
    with pytest.raises(CheckpointError, match=r"two tensors end under the name 'x\.bias'"):
        load_legacy_state_dict(path, {"base.bn.": "x.", "fc.": "x."})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "is not a state dict"),
        ({}, "is not a state dict"),
        ({"a": 3}, "its entry 'a' is no tensor"),
    ],
)
def test_legacy_files_that_are_none(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "old.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_legacy_state_dict(path)
    with pytest.raises(CheckpointError, match=r"cannot read .*: No such file"):
        load_legacy_state_dict(tmp_path / "absent.pth")
