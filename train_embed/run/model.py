"""The network of a run: built from its configuration, and put into the mode that it trains in.

Refined part pooling ("Beyond Part Models", section 4.3) is a function of the epoch: the network is trained with
stripes; in the induction the layer that assigns positions to parts learns alone, so that each part stays what its
classifier knows; then all learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from fewshot_seg.network.pcb import PCBHead
from fewshot_seg.network.spec import EmbedderSpec
from train_embed.config.schema import ModelConfig


def build_model(config: ModelConfig, *, freeze_trunk: bool = False, precision: Precision = "fp32") -> Embedder:
    """The embedder that a run starts from, in eval mode on the CPU. Seed torch first: a neck starts random.

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
    """The head's vectors z (B,D) of A (B,C,h,w), before unit norm; ConfigError: a head that doesn't say."""
    if not isinstance(embedder.head, Head):
        raise ConfigError(f"a {type(embedder.head).__name__} doesn't say what it was before the norm: write `project`")
    return embedder.head.project(feature_map)


def finite(embedder: nn.Module) -> bool:
    """Whether every parameter is."""
    return all(bool(torch.isfinite(p).all()) for p in embedder.parameters())


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


def first_stages(trunk: nn.Module, count: int) -> list[nn.Module]:
    """The modules of the trunk's first `count` stages and of the stem before them; none for 0.

    A stage is one of the network's own: an entry of `blocks`, `stages`, `layers` or `features`, or one of layer1,
    layer2, ...
    The modules that the network runs before its first stage are the stem.

    Raises:
        ConfigError: the trunk has no stages that we know, or no more than `count`: one at least must learn.
    """
    if not count:
        return []
    stem, stages = _parts(trunk)
    if count >= len(stages):
        there = f"{len(stages)} stages, and one must learn" if stages else "no stages"
        raise ConfigError(f"model.freeze_stages {count}: this backbone has {there}")
    return [*stem, *stages[:count]]


def stages_of(trunk: nn.Module) -> list[nn.Module]:
    """The trunk's stages (see `first_stages`), in order; none where we know none."""
    return _parts(trunk)[1]


def _parts(trunk: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The stem's modules and the stages, both in order."""
    stem: list[nn.Module] = []
    children = dict(getattr(trunk, "model", trunk).named_children())
    layers = [child for name, child in children.items() if name.startswith("layer") and name[5:].isdigit()]
    for name, child in children.items():
        if name in ("blocks", "stages", "features", "layers") and isinstance(child, nn.Sequential | nn.ModuleList):
            return stem, list(child)
        if layers and child is layers[0]:
            return stem, layers
        stem.append(child)
    return [], []


def refine_parts(embedder: Embedder, config: ModelConfig, epoch: int) -> None:
    """Lets the head refine its parts from `rpp_epoch` on; in the induction batch norms keep their statistics."""
    if config.rpp_epoch is None:
        return
    assert isinstance(embedder.head, PCBHead)
    embedder.head.refined.fill_(epoch >= config.rpp_epoch)
    if _inducing(config, epoch):
        embedder.trunk.eval()
        embedder.head.eval()


def keep_induced(embedder: Embedder, trained: Sequence[nn.Parameter], config: ModelConfig, epoch: int) -> None:
    """In the induction, drops the gradients of all of `trained` but the layer that assigns positions to parts."""
    if not _inducing(config, epoch):
        return
    assert isinstance(embedder.head, PCBHead)
    assert embedder.head.assign is not None
    learning = {id(p) for p in embedder.head.assign.parameters()}
    for p in trained:
        if id(p) not in learning:
            p.grad = None


def _inducing(config: ModelConfig, epoch: int) -> bool:
    return config.rpp_epoch is not None and config.rpp_epoch <= epoch < config.rpp_epoch + config.rpp_induction
