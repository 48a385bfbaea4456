"""Last stride 1: the map twice as high and wide, from the same weights; what can't be so is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fewshot_seg.errors import ConfigError
from fewshot_seg.network.backbones import build_backbone
from fewshot_seg.network.strides import keep_last_size


@pytest.mark.parametrize("name", ["timm/test_efficientnet", "torchvision/resnet18"])
def test_the_map_is_twice_as_high_and_wide(name: str) -> None:
    trunk = build_backbone(name, weights=False).trunk
    weights = {key: value.clone() for key, value in trunk.state_dict().items()}
    strided = [m for m in trunk.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    images = torch.randn(1, 3, 64, 96)
    before = trunk(images)
    keep_last_size(trunk, name)
    after = trunk(images)
    assert after.shape[2:] == (2 * before.shape[2], 2 * before.shape[3])
    assert all(torch.equal(weights[key], value) for key, value in trunk.state_dict().items())
    changed = sum(m.stride == (1, 1) for m in strided)
    assert changed == (2 if name == "torchvision/resnet18" else 1), "a residual branch is halved by a second one"


@pytest.mark.parametrize("name", ["torchvision/densenet121", "torchvision/squeezenet1_1", "timm/test_resnet"])
def test_networks_that_halve_in_another_way_are_refused_and_stay_as_they_are(name: str) -> None:
    trunk = build_backbone(name, weights=False).trunk
    strides = [m.stride for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    with pytest.raises(ConfigError, match=f"last_stride 1: {name} does not halve"):
        keep_last_size(trunk, name)
    assert [m.stride for m in trunk.modules() if isinstance(m, nn.Conv2d)] == strides
