"""Backbones that other packages bring along (docs/plugins.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.sources import PLUGIN
from fewshot_seg.plugins import BACKBONES, Plugin, find_plugin


def brought_name(bare: str) -> str | None:
    """The full name, "plugin/NAME", of a backbone that a package here brings; None: there is none."""
    return None if find_plugin(BACKBONES, bare) is None else f"{PLUGIN}{bare}"


def brought_preprocessing(name: str, size: int | None, width: int | None) -> Preprocessing:
    """What the callable says in its attribute `preprocessing`, or ImageNet's, at another size if one is given."""
    own = getattr(_plugin(name).load(), "preprocessing", Preprocessing())
    return own if size is None and width is None else replace(own, size=size or own.size, width=width)


def build_brought(name: str, weights: bool) -> tuple[nn.Module, int]:
    """The trunk, in eval mode, and C, found by running it once on a blank image.

    Raises:
        ConfigError: it can't be imported, built or run, or gives no float map (1,C,h,w).
    """
    plugin = _plugin(name)
    function = plugin.load()
    trunk = plugin.call(function, weights)
    if not isinstance(trunk, nn.Module):
        raise plugin.refusal(f"built {type(trunk).__name__}, not a torch.nn.Module")
    blank = torch.zeros(1, 3, *brought_preprocessing(name, None, None).shape)
    with torch.inference_mode():
        out: Any = plugin.call(trunk.eval(), blank)
    if not isinstance(out, Tensor) or out.dtype != torch.float32 or out.ndim != 4 or len(out) != 1:
        what = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise plugin.refusal(f"gave {what} of a blank image, not a float32 map (1, C, h, w)")
    return trunk, int(out.shape[1])


def _plugin(name: str) -> Plugin:
    plugin = find_plugin(BACKBONES, name.removeprefix(PLUGIN))
    if plugin is None:
        raise ConfigError(f"no package here brings the backbone {name!r}: pip install the one that does")
    return plugin
