"""The similarity embedding: an embedder by its name or its checkpoint's path.

The parts stand in modules of their own (`embedder`, `heads`, `checkpoints`); all that a user needs is here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.network.backbones import default_preprocessing
from fewshot_seg.network.catalogue import CATALOGUE, Facts
from fewshot_seg.network.checkpoints import PICKLE_SUFFIXES, SUFFIX, load_checkpoint, save_checkpoint
from fewshot_seg.network.devices import check_precision, resolve_device
from fewshot_seg.network.embedder import Embedder, Embedding, build_embedder
from fewshot_seg.network.heads import Head, PooledHead
from fewshot_seg.network.sources import HUB, LIBRARIES, absolute_name, cached, hub_repository
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.network.weights import PACKAGES, torchvision_file

__all__ = [
    "Embedder",
    "EmbedderSpec",
    "Embedding",
    "Head",
    "ModelInfo",
    "PooledHead",
    "build_embedder",
    "for_retrieval",
    "load_checkpoint",
    "load_embedder",
    "models",
    "save_checkpoint",
]


RETRIEVAL_SIZE: Final = 256
"""Pixels a side, for ImageNet's weights: measured on birds, cars, groceries and caltech's objects."""


@dataclass(frozen=True)
class ModelInfo:
    """One of the named models."""

    name: str  # what `load_embedder` takes
    backbone: str  # "library/NAME"
    source: str  # where its weights come from
    present: bool  # whether they are on this machine
    note: str  # what to do where they aren't, else a remark
    size: int  # of the weights' file, in bytes
    facts: Facts


def load_embedder(
    name_or_path: str | os.PathLike[str] = "default", device: str | torch.device = "auto", precision: str = "fp32"
) -> Embedder:
    """A pretrained embedder, in eval mode and frozen.

    Args:
        name_or_path: "default" (EfficientNet-Lite2), "lite0", "lite1", "lite2": weights from an installed package,
            never the network; "paper" (ResNet-50) or any "torchvision/NAME" or "timm/NAME": weights that are
            DOWNLOADED once, said on stderr; "hf-hub:OWNER/NAME", "timm/NAME@FILE" or a folder as Hugging Face keeps
            it; or the path of a .safetensors checkpoint. A name wins over a file called the same (write "./default"
            for the file).
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "fp32", or autocast to "bf16" or "fp16" (the latter not on the CPU).

    Raises:
        CheckpointError: unknown name, missing file, or weights that are missing, damaged or don't fit.
        ConfigError: a device or precision that this machine lacks, a network without a map.
    """
    target = resolve_device(device)
    checked = check_precision(precision, target)
    name = str(name_or_path)
    if _is_file_name(name):
        embedder = load_checkpoint(name, target)
        embedder.source = os.path.abspath(name)  # noqa: PTH100 - not resolved: a link may be moved on to newer weights
    else:
        try:
            preprocessing = default_preprocessing(name)
        except ConfigError as error:
            others = f"timm/NAME[@FILE], {HUB}OWNER/NAME, a folder of its kind, torchvision/NAME"
            choices = f"{', '.join(CATALOGUE)}, {others} or the path of a {SUFFIX} file"
            raise CheckpointError(f"{error}; weights are {choices}") from error
        spec = EmbedderSpec(name, preprocessing=preprocessing)
        embedder = build_embedder(spec, weights=True).requires_grad_(False).to(target)
        embedder.source = absolute_name(name)
    embedder.precision = checked
    return embedder


def for_retrieval(embedder: Embedder, size: int | None = None) -> Embedder:
    """The embedder at the size at which whole images are best told apart (docs/retrieval.md, "Size").

    Args:
        embedder: any; one that was trained for retrieval stays at the size that it was trained at.
        size: another size, pixels a side; None means the measured one for ImageNet's weights, else the embedder's own.

    Raises:
        ConfigError: a size that is not 32 to 4096.
    """
    if size is not None:
        return embedder.at_size(size)
    name = embedder.source
    if hasattr(embedder.trunk, "check_size"):  # it was made for its size
        return embedder
    if name is None or _is_file_name(name) or embedder.preprocessing != default_preprocessing(name):
        return embedder
    return embedder.at_size(RETRIEVAL_SIZE)


def _is_file_name(name: str) -> bool:
    if name in CATALOGUE or name.startswith((*LIBRARIES, HUB)):
        return False
    path = Path(name)
    if (path.is_dir() and path.suffix != SUFFIX) or ("@" in name and not path.exists()):  # see `sources.read_name`
        return False
    return path.exists() or len(path.parts) > 1 or path.suffix in (SUFFIX, *PICKLE_SUFFIXES)


def models() -> list[ModelInfo]:
    """The named models, and whether their weights are on this machine."""
    return [_model_info(name, facts) for name, facts in CATALOGUE.items()]


def _model_info(name: str, facts: Facts) -> ModelInfo:
    backbone = facts.backbone
    if (package := PACKAGES.get(backbone)) is not None:
        path = package.path()
        note = "" if path else f"pip install {package.requirement}"
        source = f"pip package {package.package.replace('_', '-')}"
        return ModelInfo(name, backbone, source, path is not None, note, package.size, facts)
    if (repository := hub_repository(backbone)) is not None:
        found = cached(repository)
        note = "" if found else f"fewshot-seg models get {name}"
        size = found.stat().st_size if found else round(facts.parameters * 4e6)  # float32
        return ModelInfo(name, backbone, f"{HUB}{repository}", found is not None, note, size, facts)
    from torchvision import models as torchvision_models

    weights = torchvision_models.ResNet50_Weights.IMAGENET1K_V1
    path = torchvision_file(weights.url)
    note = "" if path.is_file() else f"downloaded at first use, or put {path.name} into {path.parent}"
    size = path.stat().st_size if path.is_file() else int(weights.meta["_file_size"] * 2**20)
    return ModelInfo(name, backbone, "torchvision, ImageNet (IMAGENET1K_V1)", path.is_file(), note, size, facts)
