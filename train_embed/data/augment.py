"""What training does to an image before the network sees it: crop, flip, colour, random erasing.

    augment = Augment("retrieval", embedder.preprocessing)
    tensor = augment(pixels, (seed, epoch, position, index))      # (3, H, W) float32

The result is a pure function of the pixels and the key, in whatever process it runs. Normalisation is that of
`fewshot_seg.imaging.images.preprocess`, so that the network sees what it will see in use.
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
from fewshot_seg.imaging.images import Preprocessing, preprocess

PIPELINES: Final = ("retrieval", "reid", "none")
"""The names that `Augment` takes."""

_PAD: Final = 10 / 256  # of the side; re-id pads by 10 of 256 pixels


class Augment:
    """One of the pipelines, bound to a network's preprocessing. It can be sent to worker processes.

    Args:
        name: "retrieval": a crop of 20 to 100 % of the area, flip, light changes of colour. "reid": stretched
            as in use, padded and cropped by a few pixels, flip, light changes of colour, random erasing
            (Zhong et al., 2017). "none": exactly `fewshot_seg.imaging.images.preprocess`.
        preprocessing: shape, interpolation and normalisation. What is erased or padded takes the mean colour,
            0 after normalisation.
        erasing: probability of random erasing, in [0, 1], the last step of any pipeline; None: 0.5 for "reid", 0 for
            the others.

    Raises:
        ConfigError: no pipeline of this name.
    """

    def __init__(self, name: str, preprocessing: Preprocessing, erasing: float | None = None) -> None:
        if name not in PIPELINES:
            near = difflib.get_close_matches(str(name), PIPELINES, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"unknown augmentation {name!r}{hint}: choose {', '.join(PIPELINES)}")
        self.name, self.preprocessing = name, preprocessing
        probability = (0.5 if name == "reid" else 0.0) if erasing is None else erasing
        self._steps = _steps(name, preprocessing, probability)

    def __call__(self, image: NDArray[np.uint8], key: Sequence[int]) -> torch.Tensor:
        """The image as this draw sees it.

        Args:
            image: (H, W, 3) uint8 RGB.
            key: whole numbers, 0 or more: seed, epoch, position, index.

        Returns:
            (3, H, W) float32, normalised.
        """
        return preprocess(self.pixels(image, key), self.preprocessing)

    def pixels(self, image: NDArray[np.uint8], key: Sequence[int]) -> NDArray[np.uint8]:
        """The same before normalisation: (H, W, 3) uint8 RGB; for "none" at the image's own size."""
        # A Compose seeds all its steps alike, and equal draws would tie the flip to the erasing; so each step
        # has a seed of its own.
        seeds = np.random.SeedSequence([len(key), *key]).generate_state(max(len(self._steps), 1))
        for step, seed in zip(self._steps, seeds.tolist(), strict=False):
            step.set_random_seed(seed)
            image = step(image=image)["image"]
        return np.ascontiguousarray(image)


def _steps(name: str, preprocessing: Preprocessing, erasing: float) -> list[Any]:
    """The pipeline's transforms, each a Compose of one."""
    if name == "none" and not erasing:
        return []
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the network for a newer one
    import albumentations as A

    mean = tuple(round(255 * value) for value in preprocessing.mean)
    chosen: list[Any] = []
    if name != "none":
        chosen = _retrieval(preprocessing) if name == "retrieval" else _reid(preprocessing)
    if erasing:
        chosen.append(A.Erasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), fill=mean, p=erasing))
    return [A.Compose([step]) for step in chosen]


def _retrieval(preprocessing: Preprocessing) -> list[Any]:
    import albumentations as A

    height, width = preprocessing.shape
    crop = A.RandomResizedCrop(
        (height, width),
        scale=(0.2, 1.0),
        ratio=(3 / 4 * width / height, 4 / 3 * width / height),
        interpolation=_resize(preprocessing),
        area_for_downscale="image",
    )
    colour = A.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.02, 0.02), p=0.8)
    return [crop, A.HorizontalFlip(p=0.5), colour]


def _reid(preprocessing: Preprocessing) -> list[Any]:
    import albumentations as A

    height, width = preprocessing.shape
    pad = max(1, round(_PAD * max(height, width)))
    return [
        A.Resize(height, width, interpolation=_resize(preprocessing), area_for_downscale="image"),
        A.HorizontalFlip(p=0.5),
        A.Pad(pad, fill=tuple(round(255 * value) for value in preprocessing.mean)),
        A.RandomCrop(height, width),
        A.ColorJitter((0.85, 1.15), (0.85, 1.15), (0.85, 1.15), (0.0, 0.0), p=0.5),
    ]


def _resize(preprocessing: Preprocessing) -> int:
    """The interpolation as OpenCV numbers it."""
    import cv2

    number: int = cv2.INTER_CUBIC if preprocessing.interpolation == "bicubic" else cv2.INTER_LINEAR
    return number
