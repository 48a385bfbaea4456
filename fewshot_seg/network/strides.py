"""A trunk whose last stage keeps the map's size: "last stride 1", four times the positions from the same weights.

Used for re-identification since Sun et al. (arXiv 1711.09349); Luo et al., "Bag of Tricks" (arXiv 1903.07071), 3.4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError

_PROBE = (128, 192)


@torch.inference_mode()
def keep_last_size(trunk: nn.Module, name: str) -> None:
    """Sets the stride of the last convolutions that halve the map of a trunk `name` (eval mode, CPU) to 1, in place.

    Raises:
        ConfigError: the network halves its map there in another way, such as by pooling.
    """
    seen: list[tuple[nn.Conv2d, int]] = []  # each convolution that halves, and its input's width

    def note(module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
        assert isinstance(module, nn.Conv2d)
        if module.stride != (1, 1):
            seen.append((module, int(inputs[0].shape[3])))

    hooks = [m.register_forward_hook(note) for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    try:
        before = _size(trunk)
    finally:
        for hook in hooks:
            hook.remove()
    last = [module for module, width in seen if width == 2 * before[1]]  # a residual branch is one of them, too
    strides = [module.stride for module in last]
    for module in last:
        module.stride = (1, 1)
    try:
        after = _size(trunk)
    except RuntimeError:  # a branch that still halves doesn't fit the ones that don't
        after = before
    if not last or after != (2 * before[0], 2 * before[1]):
        for module, stride in zip(last, strides, strict=True):
            module.stride = stride
        raise ConfigError(
            f"last_stride 1: {name} does not halve its last map by convolutions; leave last_stride at 2, "
            "or choose default, paper or another ResNet or EfficientNet"
        )


def _size(trunk: nn.Module) -> tuple[int, int]:
    """(h, w) of the trunk's map of a blank image."""
    out: Tensor = trunk(torch.zeros(1, 3, *_PROBE))
    return int(out.shape[2]), int(out.shape[3])
