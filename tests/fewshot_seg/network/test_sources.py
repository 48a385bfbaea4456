"""Weights in files as people have them, and what is said of bad ones; the network is never reached."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from fewshot_seg.errors import CheckpointError
from fewshot_seg.network.embedding import load_embedder, save_checkpoint
from fewshot_seg.network.sources import absolute_name
from fewshot_seg.retrieval.index import Index

NAME = "vit_tiny_patch16_224"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(timm.create_model(NAME).state_dict())


def _folder(path: Path) -> Path:
    path.mkdir()
    cfg = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": [3, 192, 192], "interpolation": "bicubic"}
    (path / "config.json").write_text(json.dumps({"architecture": NAME, "pretrained_cfg": cfg}))
    return path


def _shards(folder: Path, state: dict[str, Tensor]) -> None:
    names = list(state)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: state[name] for name in held}, folder / file)
    where = {name: file for file, held in parts.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


@pytest.mark.parametrize("kind", ["safetensors", "pth", "dino", "fp16", "folder", "shards"])
def test_a_file_is_loaded(kind: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    name = f"timm/{NAME}@{tmp_path / 'w.safetensors'}"
    if kind == "safetensors":
        save_file(state, tmp_path / "w.safetensors")
    elif kind == "fp16":
        save_file({key: one.half() for key, one in state.items()}, tmp_path / "w.safetensors")
    elif kind in ("pth", "dino"):
        name = f"timm/{NAME}@{tmp_path / 'w.pth'}"
        teacher = {f"backbone.{key}": one for key, one in state.items() if not key.startswith("head.")}
        torch.save(
            state if kind == "pth" else {"teacher": teacher | {"head.mlp.0.bias": torch.ones(2)}}, tmp_path / "w.pth"
        )
    else:
        name = str(_folder(tmp_path / "snapshot"))
        if kind == "folder":
            save_file(state, tmp_path / "snapshot" / "model.safetensors")
        else:
            _shards(tmp_path / "snapshot", state)
    embedder = load_embedder(name, device="cpu")
    assert embedder.spec.backbone == f"timm/{NAME}"
    assert embedder.preprocessing.size == (192 if kind in ("folder", "shards") else 224)
    own = embedder.trunk.model.state_dict()
    tolerance = 1e-3 if kind == "fp16" else 0
    torch.testing.assert_close(own["blocks.3.mlp.fc1.weight"], state["blocks.3.mlp.fc1.weight"], rtol=0, atol=tolerance)
    assert own["cls_token"].dtype == torch.float32


def test_an_index_finds_its_network_again(state: dict[str, Tensor], tmp_path: Path, rng: np.random.Generator) -> None:
    save_file(state, tmp_path / "w.safetensors")
    from PIL import Image

    for number in range(2):
        pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    images = [tmp_path / "0.png", tmp_path / "1.png"]
    Index.build(images, load_embedder(f"timm/{NAME}@{tmp_path / 'w.safetensors'}", "cpu")).save(tmp_path / "index")
    hits = Index.load(tmp_path / "index").search(images[1], k=1)
    assert Path(hits[0].path).name == "1.png"


def _transformers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the transformers library would have saved of timm's DINOv2 without registers."""
    found = {"embeddings.mask_token": torch.zeros(1, 384)}
    for name, tensor in state.items():
        if ".attn.qkv." in name:
            for part, own in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                key = name.replace("blocks", "encoder.layer").replace("attn.qkv", f"attention.attention.{part}")
                found[key] = own.clone()
            continue
        new = name.replace("blocks", "encoder.layer").replace("attn.proj", "attention.output.dense")
        new = new.replace("ls1.gamma", "layer_scale1.lambda1").replace("ls2.gamma", "layer_scale2.lambda1")
        starts = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings"}
        new = starts.get(new, new).replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        found["layernorm" + new[4:] if new.startswith("norm.") else new] = tensor
    return found


def test_a_folder_of_the_transformers_library(tmp_path: Path) -> None:
    own = timm.create_model("vit_small_patch14_dinov2").state_dict()
    config = {"model_type": "dinov2", "hidden_size": 384, "patch_size": 14}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(_transformers_names(own), tmp_path / "model.safetensors")
    embedder = load_embedder(tmp_path, device="cpu")
    assert embedder.spec.backbone == "timm/vit_small_patch14_dinov2"
    loaded = embedder.trunk.model.state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[name], own[name]) for name in own)


def test_a_relative_file_is_found_from_elsewhere_and_a_checkpoint_needs_it_no_more(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(state, "w.safetensors")
    embedder = load_embedder(f"timm/{NAME}@w.safetensors", device="cpu")
    assert embedder.source == f"timm/{NAME}@{tmp_path / 'w.safetensors'}"
    save_file(state, _folder(tmp_path / "snapshot") / "model.safetensors")
    assert load_embedder("./snapshot", device="cpu").source == str(tmp_path / "snapshot")
    save_checkpoint(embedder, "own.safetensors")
    (tmp_path / "w.safetensors").unlink()
    again = load_embedder("own.safetensors", device="cpu")
    batch = torch.randn(1, 3, 224, 224)
    assert torch.equal(again(batch).vector, embedder(batch).vector)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "is damaged or no safetensors file"),
        ("another", "does not fit the network: it lacks"),
        ("code", "holds more than tensors"),
        ("patch", r"patches of \(14, 14\), this network has \(16, 16\)"),
        ("shard", r"model-2\.safetensors is missing, one of 2 parts"),
        ("absent", "no weights at"),
        ("config", "names no architecture of timm's"),
    ],
)
def test_bad_files_get_one_line(kind: str, message: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / ("w.pth" if kind == "code" else "w.safetensors")
    name = f"timm/{NAME}@{file}"
    if kind == "truncated":
        save_file(state, file)
        file.write_bytes(file.read_bytes()[:-100])
    elif kind == "another":
        save_file({f"layer.{key}": one for key, one in state.items()}, file)
    elif kind == "code":
        torch.save({"model": Path(tmp_path)}, file)
    elif kind == "patch":
        save_file({**state, "patch_embed.proj.weight": torch.zeros(192, 3, 14, 14)}, file)
    elif kind == "shard":
        folder = _folder(tmp_path / "snapshot")
        _shards(folder, state)
        (folder / "model-2.safetensors").unlink()
        name = str(folder)
    elif kind == "config":
        name = str(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_embedder(name, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "trained", [{"mean": 3}, {"std": ["a", "b", "c"]}, {"input_size": []}, {"input_size": {"size": 224}}, ["mean"]]
)
def test_a_config_of_odd_values_gets_one_line(trained: Any, state: dict[str, Tensor], tmp_path: Path) -> None:
    folder = _folder(tmp_path / "snapshot")
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": NAME, "pretrained_cfg": trained}))
    with pytest.raises(CheckpointError, match=r"preprocessing (mean|std)|config\.json names no architecture"):
        load_embedder(folder, device="cpu")


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "me@home")
    assert absolute_name(str(folder)) == str(folder)


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224.augreg_in21k", "hf-hub:nobody/nothing"])
def test_without_a_network_it_is_said_what_to_fetch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=r"(model\.safetensors|config\.json) of .*fewshot-seg models get "
    ) as caught:
        load_embedder(name, device="cpu")
    assert f"bring the folder {tmp_path}/models--" in str(caught.value)
    assert "\n" not in str(caught.value)
