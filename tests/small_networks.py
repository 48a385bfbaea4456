"""Seven kinds of networks, shallow and with random weights, as backbones of a package: "small-vit" and so on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.backbones import TimmTrunk
from fewshot_seg.network.patches import patch_trunk
from fewshot_seg.plugins import BACKBONES
from tests.example_plugin import install

_VIT = {"depth": 4, "embed_dim": 48, "num_heads": 3}
_WIDE = {"depth": 4, "embed_dim": 64, "num_heads": 2}
SMALL: dict[str, tuple[str, int, dict[str, Any]]] = {  # name -> timm's, a step of its sizes, what is smaller
    "vit": ("vit_tiny_patch16_224", 16, _VIT),
    "dinov2": ("vit_small_patch14_reg4_dinov2", 14, _VIT),
    "dinov3": ("vit_small_patch16_dinov3", 16, _WIDE),
    "eva02": ("eva02_tiny_patch14_224", 14, _WIDE),
    "siglip": ("vit_base_patch16_siglip_224", 16, _VIT),
    "swin": ("swin_tiny_patch4_window7_224", 16, {"embed_dim": 32, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 4)}),
    "convnext": ("convnext_tiny", 16, {"depths": (1, 1, 1, 1), "dims": (16, 32, 48, 64)}),
}


def build(name: str, weights: bool) -> nn.Module:
    """The trunk, with the same random values each time that weights are wanted."""
    network, _, smaller = SMALL[name]
    more = {} if name == "convnext" else {"dynamic_img_size": True}
    with torch.random.fork_rng(devices=[], enabled=weights):
        if weights:
            torch.manual_seed(0)
        model = timm.create_model(network, num_classes=0, **more, **smaller).eval()
    if name == "convnext":
        model.reset_classifier(0, "")
        return TimmTrunk(model)
    found = patch_trunk(model)
    assert found is not None
    return found[0]


def sizes(name: str) -> list[tuple[int, int]]:
    """Three sizes (H,W) that a network takes."""
    step = SMALL[name][1]
    return [(6 * step, 6 * step), (8 * step, 6 * step), (6 * step, 10 * step)]


def install_small(folder: Path) -> None:
    """All of them into a folder on sys.path."""
    install(
        folder, "small-networks-1", {BACKBONES: {f"small-{name}": f"tests.small_networks:{name}" for name in SMALL}}
    )


def _brought(name: str) -> Any:
    made = partial(build, name)
    made.preprocessing = Preprocessing(sizes(name)[0][0])  # type: ignore[attr-defined]
    return made


vit, dinov2, dinov3, eva02, siglip, swin, convnext = map(_brought, SMALL)
