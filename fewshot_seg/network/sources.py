"""Weights from where people have them: a file, a folder as Hugging Face keeps it, its hub. Nothing is unpickled."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_seg.errors import CheckpointError
from fewshot_seg.files import read_json
from fewshot_seg.network.weights import first_line, load_strict, read_tensors, read_torch_state

HUB = "hf-hub:"
PLUGIN = "plugin/"
LIBRARIES = ("timm/", "torchvision/", PLUGIN)
_HEADS = re.compile(r"(head|fc_norm|attn_pool|classifier|fc|mask_token|dino_head|ibot_head)\b")
_WRAPPERS = ("state_dict", "model", "teacher")
_WIDTHS = {384: "small", 768: "base", 1024: "large"}  # of DINOv2's
_TRANSFORMERS = (  # the transformers library's names of DINOv2's layers -> DINOv2's own
    (r"^dinov2(_with_registers)?\.", ""),
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense", ".attn.proj"),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.layer_scale(\d)\.lambda1", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
_FETCHED = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Named:
    """What a name says: the network, where its weights lie if not where its library keeps them, how it was trained."""

    network: str
    place: str | None = None  # a file, a folder or "hf-hub:OWNER/NAME"
    trained: Mapping[str, Any] = field(default_factory=dict)  # timm's `pretrained_cfg`: mean, std, input_size, ...


def read_name(name: str) -> Named:
    """`name` taken apart: "hf-hub:OWNER/NAME", "NETWORK@FILE", a folder with timm's config.json, or a network's name.

    Raises:
        CheckpointError: a config.json that is missing, damaged or of another library; no such network on the hub.
    """
    if name.startswith(HUB):
        return _configured(_hub_file(name, "config.json"), name)
    if ("/" in name or os.sep in name) and not name.startswith(LIBRARIES) and Path(name).is_dir():
        return _configured(Path(name, "config.json"), str(Path(name).absolute()))
    network, at, place = name.partition("@")
    return Named(network, place if at else None)


def absolute_name(name: str) -> str:
    """The name, which means the same from any working directory."""
    named = read_name(name)
    if named.place is None or named.place.startswith(HUB):
        return name
    at = os.path.abspath(named.place)  # noqa: PTH100 - not resolved: a link may be moved on to newer weights
    return at if Path(name).is_dir() else f"{named.network}@{at}"


def load_place(model: nn.Module, place: str) -> None:
    """Loads the weights at `place` into a timm network without its classifier, strictly, as float32.

    timm's own rules rename what other projects (DINO, DINOv2, DINOv3, CLIP) wrote and resample position embeddings.

    Raises:
        CheckpointError: missing, damaged, more than tensors, of another patch size or architecture, a shard missing.
    """
    state = {name.removeprefix("backbone."): one for name, one in _read(place).items()}
    if any(name.endswith("embeddings.position_embeddings") for name in state):
        state = _from_transformers(state, place)
    own = model.state_dict()
    patch = "patch_embed.proj.weight"
    if patch in state and patch in own and state[patch].shape[-2:] != own[patch].shape[-2:]:
        theirs, ours = (tuple(one[patch].shape[-2:]) for one in (state, own))
        raise CheckpointError(f"{place} was trained with patches of {theirs}, this network has {ours}")
    rename = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        renamed = state if rename is None else rename(state, model)
    except Exception as error:  # timm's rules look for the layers of the networks that they know
        raise CheckpointError(f"{place} does not fit the network: {first_line(error)}") from error
    kept = {name: one.float() for name, one in renamed.items() if name in own or not _HEADS.match(name)}
    load_strict(model, kept, place)


def hub_repository(network: str) -> str | None:
    """The repository on Hugging Face's hub that timm loads "timm/NAME" from; None if there is none."""
    import timm

    if not network.startswith("timm/"):
        return None
    config: Any = timm.get_pretrained_cfg(network.removeprefix("timm/"))
    repository = config and config.hf_hub_id
    if not repository:
        return None
    return f"{repository}{config.architecture}.{config.tag}" if repository.endswith("/") else str(repository)


def cached(repository: str) -> Path | None:
    """The repository's weights in the hub's cache, if they are there."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in _FETCHED)
    return next((Path(one) for one in found if isinstance(one, str)), None)


def not_here(name: str, repository: str, file: str, error: Exception) -> CheckpointError:
    """The error that says which file is missing, where it goes, and what fetches it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")
    return CheckpointError(
        f"{file} of {name} could not be loaded ({first_line(error)}): where there is a network, "
        f"`fewshot-seg models get {name}` fetches it; bring the folder {place} here"
    )


@cache
def _hub_file(name: str, file: str) -> Path:
    """A file of "hf-hub:OWNER/NAME": from the hub's cache, else DOWNLOADED; the hub is asked once in a process."""
    from huggingface_hub import hf_hub_download

    repository = name.removeprefix(HUB)
    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # the hub client has no one class for all
        raise not_here(name, repository, file, error) from error


def _configured(path: Path, name: str) -> Named:
    try:
        config = read_json(path)
        architecture = _dinov2(config) if "model_type" in config else config["architecture"]
        if not re.fullmatch(r"\w+", architecture):
            raise TypeError(architecture)
        trained = config.get("pretrained_cfg") or {}
        size = trained.get("input_size", [3, 1, 1])
        if not isinstance(size, list) or len(size) != 3:
            raise TypeError(size)
        return Named(f"timm/{architecture}", name, {key: trained[key] for key in trained if key != "url"})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} names no architecture of timm's and no DINOv2: say which network a file is for, timm/NAME@FILE"
        ) from error


def _dinov2(config: Mapping[str, Any]) -> str:
    """timm's name of the DINOv2 that a config.json of the transformers library describes; KeyError for others."""
    registers = {"dinov2": "", "dinov2_with_registers": "_reg4"}[config["model_type"]]
    return f"vit_{_WIDTHS[config['hidden_size']]}_patch{int(config['patch_size'])}{registers}_dinov2"


def _from_transformers(state: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    """DINOv2's own names of the layers; query, key and value, which it keeps as one tensor, are joined."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for old, new in _TRANSFORMERS:
            name = re.sub(old, new, name)
        renamed[name] = tensor
    for name in [name for name in renamed if ".attn.query." in name]:
        parts = [renamed.pop(name.replace("query", part), None) for part in ("query", "key", "value")]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            raise CheckpointError(f"{place} does not fit the network: it lacks a part of {name}")
        renamed[name.replace("query", "qkv")] = torch.cat(found)
    return renamed


def _read(place: str) -> dict[str, Tensor]:
    """The tensors at a place."""
    if place.startswith(HUB):
        return _read_file(_hub_file(place, _FETCHED[0]))
    path = Path(place)
    if not path.is_dir():
        return _read_file(path)
    if (index := path / f"{_FETCHED[0]}.index.json").is_file():
        return _read_shards(index)
    found = [path / file for file in _FETCHED if (path / file).is_file()]
    if not found:
        raise CheckpointError(f"{path} holds neither {' nor '.join(_FETCHED)}")
    return _read_file(found[0])


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        files = sorted(set(read_json(index)["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged: {first_line(error)}") from error
    state: dict[str, Tensor] = {}
    for file in files:
        path = index.parent / Path(str(file)).name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, one of {len(files)} parts that {index.name} names")
        state |= _read_file(path)
    return state


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}")
    if path.suffix == ".safetensors":
        return read_tensors(path)
    return read_torch_state(path, _WRAPPERS)
