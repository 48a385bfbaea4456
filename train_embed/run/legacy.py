"""Weights from an older `.pth` file, renamed until they fit an embedder exactly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fewshot_seg.errors import CheckpointError
from fewshot_seg.network.backbones import default_preprocessing
from fewshot_seg.network.checkpoints import load_legacy_state_dict
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder
from fewshot_seg.network.weights import load_strict

NECK, CLASSIFIER = "head.linear.weight", "classifier.weight"


def import_weights(
    path: Path,
    backbone: str,
    *,
    pooling: str = "avg",
    neck: str | None = None,
    size: int = 384,
    names: Mapping[str, str | None] | None = None,
) -> Embedder:
    """The embedder whose weights a `.pth` state dict holds, in eval mode on the CPU.

    A name that, after `names`, is none of the embedder's own (such as "head.linear.weight") is taken for the
    backbone library's. Every tensor must fit, and none may be missing but those that say nothing: a batch
    norm's count of batches, the bias of a linear neck that had none.

    Args:
        path: a file that torch.save wrote, of tensors by name; code in it is never run.
        backbone: "resnet50", "torchvision/NAME", "timm/NAME".
        pooling: "avg", "max", "avg+max" or "gem".
        neck: None, "linear", "bn" or "linear+bn"; its length is that of the file's linear layer.
        size: pixels a side that images are brought to.
        names: old prefix -> new prefix, or None to leave tensors out; see `load_legacy_state_dict`.

    Raises:
        CheckpointError: the file cannot be read safely, or does not fit.
        ConfigError: an impossible backbone, pooling or neck.
    """
    state = load_legacy_state_dict(path, names)
    spec = EmbedderSpec(
        backbone,
        pooling=pooling,
        neck=neck,
        dim=_rows(state[NECK]) if NECK in state else None,
        preprocessing=default_preprocessing(backbone, size),
        classes=_rows(state[CLASSIFIER]) if CLASSIFIER in state else 0,
    )
    embedder = build_embedder(spec, weights=False)
    load_strict(embedder, fit(state, embedder.state_dict(), path), str(path))
    return embedder


def fit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """`state` under the embedder's own names and shapes, with what old files leave out because it says nothing.

    CheckpointError, with `path`, for tensors that the embedder has no place for.
    """
    trunk = "trunk.model." if any(name.startswith("trunk.model.") for name in own) else "trunk."
    placed = {name if name in own else trunk + name: tensor for name, tensor in state.items()}
    if strangers := [name for name in state if name not in own and trunk + name not in own]:
        listed = ", ".join(strangers[:3]) + (" ..." if strangers[3:] else "")
        raise CheckpointError(
            f"{path}: the embedder has no place for {listed}; rename with --map OLD=NEW "
            "(--map fc.=classifier. keeps a classifier) or leave out with --drop PREFIX"
        )
    if len(placed) < len(state):
        raise CheckpointError(f"{path} holds some of the backbone's tensors twice, with and without {trunk!r}")
    for name, tensor in own.items():
        if name.endswith(".num_batches_tracked") or name == "head.linear.bias":
            placed.setdefault(name, torch.zeros_like(tensor))
    return {name: _shaped(tensor, own[name]) for name, tensor in placed.items()}


def _rows(tensor: Tensor) -> int:
    return tensor.shape[0] if tensor.ndim else 0


def _shaped(tensor: Tensor, like: Tensor) -> Tensor:
    """Axes of length 1 count for nothing: a 1x1 convolution is a linear layer, a (1,) exponent a number."""
    same = [n for n in tensor.shape if n != 1] == [n for n in like.shape if n != 1]
    return tensor.reshape(like.shape) if same else tensor
