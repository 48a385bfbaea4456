"""The network of a run: built from its configuration, and put into the mode that it trains in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fewshot_seg.errors import ConfigError
from fewshot_seg.network.backbones import canonical_name, default_preprocessing
from fewshot_seg.network.checkpoints import load_checkpoint
from fewshot_seg.network.devices import Precision
from fewshot_seg.network.embedder import Embedder, build_embedder
from fewshot_seg.network.heads import Head
from fewshot_seg.network.spec import EmbedderSpec
from train_embed.config.schema import ModelConfig
from train_embed.run.stages import first_stages

__all__ = ["build_model", "finite", "fix_shifts", "keep_statistics", "project", "train_mode"]


def build_model(config: ModelConfig, *, freeze_trunk: bool = False, precision: Precision = "fp32") -> Embedder:
    """The embedder that a run starts from, in eval mode on the CPU. Seed torch first: a neck starts random.

    Args:
        config: see `ModelConfig`.
        freeze_trunk: no parameter of the trunk is trained.
        precision: see `Embedder`.

    Raises:
        ConfigError: an unknown backbone, or a checkpoint of another one.
        CheckpointError: weights that are missing or don't fit.
    """
    stripes = (config.stripes or 0) if config.head == "pcb" else 0
    dim = config.dim * stripes if config.dim is not None and stripes else config.dim
    spec = EmbedderSpec(
        config.backbone,
        pooling=config.pooling,
        neck=None if config.neck == "none" else config.neck,
        dim=dim,
        preprocessing=default_preprocessing(config.backbone, config.size, config.width),
        stripes=stripes,
        refining=config.rpp_epoch is not None,
        last_stride=config.last_stride,
    )
    embedder = build_embedder(spec, weights=config.weights == "imagenet")
    if config.weights not in ("imagenet", "random"):
        _start_from(embedder, config.weights)
    embedder.precision = precision
    if freeze_trunk:
        embedder.trunk.requires_grad_(False)
    if config.freeze_bn:
        for norm in _norms(embedder.trunk):
            norm.requires_grad_(False)
    for stage in first_stages(embedder.trunk, config.freeze_stages):
        stage.requires_grad_(False)
    return embedder


def _start_from(embedder: Embedder, path: str) -> None:
    """The trunk of the checkpoint at `path`, and its head where it has the same tensors."""
    other = load_checkpoint(path, "cpu")
    if canonical_name(other.spec.backbone) != canonical_name(embedder.spec.backbone):
        raise ConfigError(
            f"model.weights {path} holds {other.spec.backbone}, model.backbone is {embedder.spec.backbone}"
        )
    embedder.trunk.load_state_dict(other.trunk.state_dict())
    ours, theirs = embedder.head.state_dict(), other.head.state_dict()
    if ours.keys() == theirs.keys() and all(ours[name].shape == theirs[name].shape for name in ours):
        embedder.head.load_state_dict(theirs)


def train_mode(embedder: Embedder, config: ModelConfig, *, freeze_trunk: bool = False) -> None:
    """Training mode; frozen batch norms of the trunk, its frozen stages, or all of it if frozen, stay in eval mode."""
    embedder.train()
    if freeze_trunk:
        embedder.trunk.eval()
        return
    frozen = list(first_stages(embedder.trunk, config.freeze_stages))
    if config.freeze_bn:
        frozen += _norms(embedder.trunk)
    for module in frozen:
        module.eval()


def fix_shifts(head: nn.Module) -> None:
    """The head's batch norms keep their shift, 0 at first.

    Classifiers without bias then cut space through 0, as the cosine does (Luo et al., 2019, section 3.5).
    """
    for norm in _norms(head):
        norm.bias.requires_grad_(False)


@contextmanager
def keep_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms that train use the batch's statistics in here and leave their running ones as they are.

    For erased images: half their pixels are the mean colour, and no image in use looks like that. Counted in, they
    would draw the running statistics, and with them every later result, towards pictures that don't exist.
    """
    norms = [norm for norm in _norms(module) if norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False  # in training mode: the batch's own; in eval mode: still the running ones
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def project(embedder: Embedder, feature_map: Tensor) -> Tensor:
    """The head's vectors z (B,D) of A (B,C,h,w), before unit norm.

    Raises:
        ConfigError: a head that doesn't say.
    """
    if not isinstance(embedder.head, Head):
        raise ConfigError(f"a {type(embedder.head).__name__} doesn't say what it was before the norm: write `project`")
    return embedder.head.project(feature_map)


def finite(embedder: nn.Module) -> bool:
    """Whether every parameter is."""
    return all(bool(torch.isfinite(p).all()) for p in embedder.parameters())


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]
