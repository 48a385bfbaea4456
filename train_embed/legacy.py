"""Weights from an older `.pth` file, renamed until they fit an embedder exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fewshot_seg.backbones import default_preprocessing
from fewshot_seg.embedding import Embedder, EmbedderSpec, build_embedder
from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.weights import load_strict, load_tensors

__all__ = ["import_weights", "rename"]

NECK, CLASSIFIER = "head.linear.weight", "classifier.weight"
OURS = ("trunk.", "head.", "classifier.")
WRAPPER = "module."  # what torch's DataParallel puts before every name


def import_weights(
    path: Path,
    backbone: str,
    *,
    pooling: str = "avg",
    neck: str | None = None,
    size: int = 384,
    names: Sequence[tuple[str, str]] = (),
    drop: Sequence[str] = (),
) -> Embedder:
    """The embedder whose weights a `.pth` state dict holds, in eval mode on the CPU.

    A tensor's name is changed by `rename`; what is then no name of an embedder ("trunk.", "head.",
    "classifier.") is taken for the backbone library's own. Every tensor must fit, and none may be missing
    but those that say nothing: a batch norm's count of batches, the bias of a linear neck that had none.

    Args:
        path: a file that torch.save wrote, of tensors by name; code in it is never run.
        backbone: "resnet50", "torchvision/NAME", "timm/NAME".
        pooling: "avg", "max", "avg+max" or "gem".
        neck: None, "linear", "bn" or "linear+bn"; its length is that of the file's linear layer.
        size: pixels a side that images are brought to.
        names: (old, new) prefixes.
        drop: prefixes of tensors to leave out, in the file's names.

    Raises:
        CheckpointError: the file cannot be read safely, or does not fit.
        ConfigError: an impossible backbone, pooling or neck, or a prefix that no tensor has.
    """
    state = rename(load_tensors(path), names, drop)
    neck_weight, classifier = state.get(NECK), state.get(CLASSIFIER)
    spec = EmbedderSpec(
        backbone,
        pooling=pooling,
        neck=neck,
        dim=None if neck_weight is None else len(neck_weight),
        preprocessing=default_preprocessing(backbone, size),
        classes=0 if classifier is None else len(classifier),
    )
    embedder = build_embedder(spec, weights=False)
    load_strict(embedder, fit(state, embedder.state_dict(), path), str(path))
    return embedder


def rename(
    state: Mapping[str, Tensor], names: Sequence[tuple[str, str]], drop: Sequence[str] = ()
) -> dict[str, Tensor]:
    """`state` with other prefixes: DataParallel's "module." goes, then the first pair of `names` that fits.

    Raises:
        ConfigError: a prefix of `names` or `drop` that no tensor has.
        CheckpointError: two tensors get the same name.
    """
    if state and all(name.startswith(WRAPPER) for name in state):
        state = {name.removeprefix(WRAPPER): tensor for name, tensor in state.items()}
    for prefix in (*drop, *(old for old, _ in names)):
        if not any(name.startswith(prefix) for name in state):
            raise ConfigError(
                f"no tensor's name begins with {prefix!r}; the names begin with {_beginnings(state)}"
            )
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(tuple(drop)):
            continue
        old, new = next(((old, new) for old, new in names if name.startswith(old)), ("", ""))
        target = new + name.removeprefix(old)
        if target in renamed:
            raise CheckpointError(f"two tensors are called {target!r} once they are renamed")
        renamed[target] = tensor
    return renamed


def fit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """`state` under the embedder's names and shapes, with what old files leave out because it says nothing.

    Args:
        state: tensors by name, from `rename`.
        own: the embedder's state dict.
        path: for messages.

    Raises:
        CheckpointError: tensors that the embedder has no place for.
    """
    trunk = "trunk.model." if any(name.startswith("trunk.model.") for name in own) else "trunk."
    placed = {name if name.startswith(OURS) else trunk + name: tensor for name, tensor in state.items()}
    if strangers := [name for name in state if name not in own and trunk + name not in own]:
        listed = ", ".join(strangers[:3]) + (" ..." if strangers[3:] else "")
        raise CheckpointError(
            f"{path}: the embedder has no place for {listed}; rename with --map OLD=NEW "
            "(--map fc.=classifier. keeps a classifier) or leave out with --drop PREFIX"
        )
    for name, tensor in own.items():
        if name.endswith(".num_batches_tracked") or name == "head.linear.bias":
            placed.setdefault(name, torch.zeros_like(tensor))
    return {name: _shaped(tensor, own[name]) for name, tensor in placed.items()}


def _shaped(tensor: Tensor, like: Tensor) -> Tensor:
    """Axes of length 1 count for nothing: a 1x1 convolution is a linear layer, a (1,) exponent a number."""
    same = [n for n in tensor.shape if n != 1] == [n for n in like.shape if n != 1]
    return tensor.reshape(like.shape) if same else tensor


def _beginnings(state: Mapping[str, Tensor]) -> str:
    beginnings = list(dict.fromkeys(name.split(".")[0] for name in state))
    return ", ".join(beginnings[:8]) + (" ..." if beginnings[8:] else "")
