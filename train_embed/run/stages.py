"""The stages of a trunk, from the image on: what `model.freeze_stages` counts."""

from __future__ import annotations

from torch import nn

from fewshot_seg.errors import ConfigError

__all__ = ["first_stages"]


def first_stages(trunk: nn.Module, count: int) -> list[nn.Module]:
    """The modules of the first `count` stages and of the stem before them; none for 0.

    A stage is one of the network's own: an entry of `blocks`, `stages` or `features`, or one of layer1, layer2, ...
    The modules that the network runs before its first stage are the stem.

    Args:
        trunk: of `fewshot_seg.network.backbones`.
        count: 0 or more.

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


def _parts(trunk: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The stem's modules and the stages, both in order."""
    stem: list[nn.Module] = []
    children = dict(getattr(trunk, "model", trunk).named_children())
    layers = [child for name, child in children.items() if name.startswith("layer") and name[5:].isdigit()]
    for name, child in children.items():
        if name in ("blocks", "stages", "features") and isinstance(child, nn.Sequential):
            return stem, list(child)
        if layers and child is layers[0]:
            return stem, layers
        stem.append(child)
    return [], []
