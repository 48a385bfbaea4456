"""What docs/plugins.md shows: a refiner, a backbone and a whole method of somebody else's."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.cutting.refiners import RefinerSetting, Scene
from fewshot_seg.imaging.images import Preprocessing


class Brightness:
    """A refiner: of what the map calls likely, the pixels that are at least half as bright as its mean."""

    def __init__(self, setting: RefinerSetting) -> None:
        self.part = float(setting.weights or 0.5)

    def __call__(self, scene: Scene) -> NDArray[np.bool_]:
        likely = scene.map >= 0.5 * scene.map.max()
        grey = scene.small.mean(2)
        return likely & (grey >= self.part * grey[likely].mean())


class Blocks(torch.nn.Module):
    """A backbone: the mean colours of 32 x 32 blocks, of which the vector is the mean."""

    preprocessing = Preprocessing(128)

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((3, 1, 1), 2.0 if weights else 1.0))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(batch, 32) * self.scale


def same_place(
    query: NDArray[np.uint8], supports: list[NDArray[np.uint8]], masks: list[NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """A method: the object is where it was in most of the supports."""
    size = query.shape[1::-1]
    return np.mean([cv2.resize(mask.astype(np.float32), size) for mask in masks], axis=0) > 0.5
