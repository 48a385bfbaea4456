"""Networks that see an image as patches (ViT, EVA, Swin, ...): their maps, and the sizes they take."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError


class PatchTrunk(nn.Module):
    """The patch tokens of a timm network as a map (B,C,h,w), behind its last norm; class and register tokens are not.

    By timm's own `forward_intermediates`, which also resamples position embeddings to the image's size.

    Args:
        model: of timm.
        step: pixels; images are multiples of it, high and wide.
        only: (H, W), the one size that the network takes; None: all multiples.
    """

    def __init__(self, model: Any, step: int, only: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.model: Any = model
        self.step = step
        self.only = only

    @property
    def compared(self) -> tuple[str, str]:
        """The layers that correspondence reads: three quarters of the way to the map, and the last."""
        depth = len(self.model.feature_info)
        return f"blocks.{math.ceil(0.75 * depth) - 1}", f"blocks.{depth - 1}"

    def forward(self, batch: Tensor) -> Tensor:
        """(B,3,H,W) -> (B,C,h,w). ConfigError: a size that the network doesn't take."""
        return self._maps(batch, 1)[0]

    def layers(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What `forward` gives, to the bit, and the map behind each block (or stage) by name, "blocks.0" and on."""
        maps = self._maps(batch, None)
        return maps[-1], {f"blocks.{number}": one for number, one in enumerate(maps)}

    def check_size(self, height: int, width: int) -> None:
        """ConfigError, which names the nearest sizes, unless the network takes images of this size."""
        if self.only is not None:
            if (height, width) != self.only:
                raise ConfigError(f"images of {height}x{width}: this network takes {self.only[0]}x{self.only[1]} alone")
            return
        for side in (height, width):
            if side % self.step:
                below = side - side % self.step
                near = " or ".join(str(one) for one in (below, below + self.step) if one)
                raise ConfigError(
                    f"images of {height}x{width}: this network takes multiples of {self.step}, next to {side}: {near}"
                )

    def _maps(self, batch: Tensor, indices: int | None) -> list[Tensor]:
        self.check_size(batch.shape[2], batch.shape[3])
        maps: list[Tensor] = self.model.forward_intermediates(
            batch, indices=indices, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return maps


def patch_trunk(model: Any) -> tuple[PatchTrunk, int] | None:
    """The network's patch trunk and C, tried at a small size and else at its own; None: it has no spatial map."""
    if not hasattr(model, "forward_intermediates"):
        return None
    own = model.pretrained_cfg["input_size"][1:]
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    step = max(patch) if isinstance(patch, tuple) else int(patch)
    small = PatchTrunk(model, step)
    for trunk, size in ((small, (step * 8, step * 12)), (PatchTrunk(model, step, own), own)):
        try:
            with torch.inference_mode():
                shape = trunk.eval()(torch.zeros(1, 3, *size)).shape
        except Exception:  # noqa: BLE001 - networks refuse a size in ways of their own
            continue
        if len(shape) == 4:
            return trunk, int(shape[1])
    return None


def check_size(trunk: nn.Module, size: tuple[int, int]) -> None:
    """ConfigError: the trunk has a `check_size(height, width)` of its own, which refuses images of this (H, W)."""
    if hasattr(trunk, "check_size"):
        trunk.check_size(*size)  # type: ignore[operator]
