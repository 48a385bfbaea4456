"""A network made faster for inference on a CPU: batch norms folded into the convolutions before them.

In eval mode a batch norm is a fixed scale and shift of each channel, which the convolution can do by itself. What
comes after it, a ReLU, then works in place. It takes half of the time and most of the memory traffic off light
networks. torch's own choice of a kernel for 1x1 convolutions depends on its number of threads; here it is always
oneDNN's, so that the result has the same bits on any number.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from itertools import chain, pairwise
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_PROBE_SIZE: Final = (96, 160)
_SIZES: Final = 2  # of inputs, whose laid out weights are kept: each is a copy of the network's weights
_LAY_OUT: Final[Any] = getattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", None)
_PACKS: Final = _LAY_OUT is not None and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
_TOLERANCE: Final = 1e-4
"""How far the folded network's map may be from the network's, by the map's largest value. Rounding makes 1e-5."""


class FoldedCopy:
    """Keeps the folded copy of a network for as long as the network's weights stay as they are."""

    def __init__(self) -> None:
        self._kept: tuple[list[tuple[int, int]], nn.Module] | None = None

    def of(self, network: nn.Module) -> nn.Module:
        """See `fold`; the network itself where hooks are on it or in it, too."""
        state, kept = _state(network), self._kept  # taken once: other threads may be here, too
        if state is None:
            return network
        if kept is None or kept[0] != state:
            kept = self._kept = (state, fold(network))
        return kept[1]


def fold(network: nn.Module) -> nn.Module:
    """A copy with every batch norm folded that directly follows a convolution; the network itself if that fails.

    Which one follows is taken from the order of a module's children, and the copy is compared with the network on
    an image of noise: where the order misleads, as it may in networks of other families, nothing is folded.

    Args:
        network: (B,3,H,W) -> (B,C,h,w), in eval mode, float32, on the CPU.

    Returns:
        A network for inference alone, whose maps differ from the network's by rounding.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return network
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return network
    folded = copy.deepcopy(network).requires_grad_(False)
    for module in list(folded.modules()):
        _fold_children(module)
    return folded if _agrees(folded, network) else network


def _fold_children(module: nn.Module) -> None:
    for (name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.padding_mode == "zeros":
            activation, rest = _activation(norm)
            setattr(module, name, _Convolution(fuse_conv_bn_eval(conv, norm), activation))
            setattr(module, norm_name, rest)


class _Convolution(nn.Module):
    """A convolution by oneDNN, its weights laid out for the input's size once, and a clamp of its result."""

    def __init__(self, conv: nn.Conv2d, clamp: tuple[float, float] | None) -> None:
        super().__init__()
        self.conv = conv
        self.clamp = clamp
        self.pads_itself = type(conv) is not nn.Conv2d  # timm's, which pads by the size of what comes
        self._packed: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        padding = conv.padding
        if self.pads_itself or isinstance(padding, str):
            x, padding = _padded(x, conv), (0, 0)
        how = (conv.bias, padding, conv.stride, conv.dilation, conv.groups)
        if _PACKS:
            clamped = ("none", [], "") if self.clamp is None else ("hardtanh", list(self.clamp), "")
            packed: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self._weights_for(x, padding), *how, *clamped)
            return packed
        y = torch.mkldnn_convolution(x, conv.weight, *how)
        return y if self.clamp is None else y.clamp_(*self.clamp)

    def _weights_for(self, x: Tensor, padding: tuple[int, ...]) -> Tensor:
        """The weights as oneDNN wants them for inputs of this size; of the last sizes they are kept."""
        size = tuple(x.shape)
        packed = self._packed.get(size)
        if packed is None:
            conv = self.conv
            weight = conv.weight.to_mkldnn()
            packed = _LAY_OUT(weight, padding, conv.stride, conv.dilation, conv.groups, size)
            self._packed[size] = packed
            while len(self._packed) > _SIZES:
                self._packed.popitem(last=False)
        return packed

    def __getstate__(self) -> dict[str, Any]:
        """Without the laid out weights, which can be neither copied nor saved."""
        return self.__dict__ | {"_packed": OrderedDict()}


def _padded(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Zeros around x so that the result has ceil(size / stride) positions, one more behind than in front if uneven."""
    sides = []
    for size, kernel, stride, dilation in zip(
        x.shape[:1:-1], conv.kernel_size[::-1], conv.stride[::-1], conv.dilation[::-1], strict=True
    ):
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides) if any(sides) else x


def _activation(norm: nn.BatchNorm2d) -> tuple[tuple[float, float] | None, nn.Module]:
    """What follows in the norm's module (timm puts the activation there): as a clamp, or as what is left to do."""
    activation = getattr(norm, "act", nn.Identity())
    if isinstance(activation, nn.ReLU6):
        return (0.0, 6.0), nn.Identity()
    if isinstance(activation, nn.ReLU):
        return (0.0, math.inf), nn.Identity()
    return None, activation


@torch.inference_mode()
def _agrees(folded: nn.Module, network: nn.Module) -> bool:
    noise = torch.randn(1, 3, *_PROBE_SIZE, generator=torch.Generator().manual_seed(0))
    noise = noise.contiguous(memory_format=torch.channels_last)
    try:
        own, expected = folded(noise), network(noise)
    except Exception:  # noqa: BLE001 - a network that looks at its layers' own attributes
        return False
    return bool((own - expected).abs().max() <= _TOLERANCE * expected.abs().max())


def _state(network: nn.Module) -> list[tuple[int, int]] | None:
    """`state_of` all tensors; None where hooks are on."""
    state: list[tuple[int, int]] = []
    waiting = [network]
    while waiting:  # not `parameters()`: half of a millisecond in every pass
        module = waiting.pop()
        if module._forward_hooks or module._forward_pre_hooks:
            return None
        tensors = [one for one in chain(module._parameters.values(), module._buffers.values()) if one is not None]
        state += map(state_of, tensors)
        waiting += [child for child in module._modules.values() if child is not None]
    return state


def state_of(tensor: Tensor) -> tuple[int, int]:
    """Where a tensor's values lie, and how often they were changed in place (not counted in inference mode)."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
