"""The recommended networks, by their short names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Facts(NamedTuple):
    """A network, and what to choose it by."""

    backbone: str  # its full name
    parameters: float  # of the trunk, in millions
    stride: int  # of its map, pixels
    licence: str  # of the weights, as their publisher says
    use: str  # what it is good for


CATALOGUE: Final[Mapping[str, Facts]] = {
    "default": Facts("timm/tf_efficientnet_lite2", 4.8, 32, "Apache-2.0", "everything, on a CPU; has a matcher"),
    "lite0": Facts("timm/tf_efficientnet_lite0", 3.4, 32, "Apache-2.0", "speed"),
    "lite1": Facts("timm/tf_efficientnet_lite1", 4.1, 32, "Apache-2.0", "between lite0 and default"),
    "lite2": Facts("timm/tf_efficientnet_lite2", 4.8, 32, "Apache-2.0", "the default by its own name"),
    "paper": Facts("torchvision/resnet50", 23.5, 32, "BSD-3-Clause", "the paper's own network"),
    "dinov2-small": Facts(
        "timm/vit_small_patch14_dinov2.lvd142m", 22.1, 14, "Apache-2.0", "parts and fine maps; not measured here"
    ),
    "dinov2-base": Facts(
        "timm/vit_base_patch14_dinov2.lvd142m", 86.6, 14, "Apache-2.0", "the same on a GPU; not measured here"
    ),
    "dinov3-small": Facts(
        "timm/vit_small_patch16_dinov3.lvd1689m", 21.6, 16, "DINOv3 License", "large images; not measured here"
    ),
    "siglip-base": Facts(
        "timm/vit_base_patch16_siglip_224.webli", 85.8, 16, "Apache-2.0", "kinds of things; not measured here"
    ),
}
