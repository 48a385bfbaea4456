"""What training does to an image before the network sees it: crop, flip, colour, random erasing.

    augment = Augment("retrieval", embedder.preprocessing)
    tensor = augment(pixels, (seed, epoch, position, index))      # (3, size, size) float32

The result is a pure function of the pixels and the key, in whatever process it runs. Normalisation is that of
`fewshot_seg.images.preprocess`, so that the network sees what it will see in use.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError
from fewshot_seg.images import Preprocessing, preprocess

__all__ = ["PIPELINES", "Augment"]

PIPELINES: Final = ("retrieval", "reid", "none")
"""The names that `Augment` takes."""

_PAD: Final = 10 / 256  # of the side; re-id pads by 10 of 256 pixels


class Augment:
    """One of the pipelines, bound to a network's preprocessing. It can be sent to worker processes.

    Args:
        name: "retrieval": a crop of 20 to 100 % of the area, flip, light changes of colour. "reid": stretched
            as in use, padded and cropped by a few pixels, flip, light changes of colour, random erasing
            (Zhong et al., 2017). "none": exactly `fewshot_seg.images.preprocess`.
        preprocessing: size, interpolation and normalisation. What is erased or padded takes the mean colour,
            0 after normalisation.

    Raises:
        ConfigError: no pipeline of this name.
    """

    def __init__(self, name: str, preprocessing: Preprocessing) -> None:
        if name not in PIPELINES:
            near = difflib.get_close_matches(str(name), PIPELINES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"unknown augmentation {name!r}{hint}: choose {', '.join(PIPELINES)}")
        self.name, self.preprocessing = name, preprocessing
        self._steps = _steps(name, preprocessing)

    def __call__(self, image: NDArray[np.uint8], key: Sequence[int]) -> torch.Tensor:
        """The image as this draw sees it.

        Args:
            image: (H, W, 3) uint8 RGB.
            key: whole numbers, 0 or more: seed, epoch, position, index.

        Returns:
            (3, size, size) float32, normalised.
        """
        return preprocess(self.pixels(image, key), self.preprocessing)

    def pixels(self, image: NDArray[np.uint8], key: Sequence[int]) -> NDArray[np.uint8]:
        """The same before normalisation: (size, size, 3) uint8 RGB; for "none" the image as it is."""
        # A Compose seeds all its steps alike, and equal draws would tie the flip to the erasing; so each step
        # has a seed of its own.
        seeds = np.random.SeedSequence([len(key), *key]).generate_state(max(len(self._steps), 1))
        for step, seed in zip(self._steps, seeds.tolist(), strict=False):
            step.set_random_seed(seed)
            image = step(image=image)["image"]
        return np.ascontiguousarray(image)


def _steps(name: str, preprocessing: Preprocessing) -> list[Any]:
    """The pipeline's transforms, each a Compose of one."""
    if name == "none":
        return []
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the network for a newer one
    import albumentations as A
    import cv2

    size = preprocessing.size
    mean = tuple(round(255 * value) for value in preprocessing.mean)
    resize = cv2.INTER_CUBIC if preprocessing.interpolation == "bicubic" else cv2.INTER_LINEAR
    flip = A.HorizontalFlip(p=0.5)
    if name == "retrieval":
        colour = A.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.02, 0.02), p=0.8)
        crop = A.RandomResizedCrop(
            (size, size), scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), interpolation=resize, area_for_downscale="image"
        )
        chosen = [crop, flip, colour]
    else:
        colour = A.ColorJitter((0.85, 1.15), (0.85, 1.15), (0.85, 1.15), (0.0, 0.0), p=0.5)
        pad = max(1, round(_PAD * size))
        chosen = [
            A.Resize(size, size, interpolation=resize, area_for_downscale="image"),
            flip,
            A.Pad(pad, fill=mean),
            A.RandomCrop(size, size),
            colour,
            A.Erasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), fill=mean, p=0.5),
        ]
    return [A.Compose([step]) for step in chosen]
