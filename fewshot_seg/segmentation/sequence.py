"""Sequences: frames of one scene in order, where what was found in earlier frames helps to find it in the next one.

The supports count in every frame, so that an error can't drift away from them. Beside them the last frames and the
surest one are remembered, only where map and mask agree and are sure. An object that is lost may come again
anywhere; where it was last seen it is looked for first. After a cut to another scene nothing is near.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.cutting.refine import expected_iou
from fewshot_seg.imaging.images import resize_map
from fewshot_seg.matching.appearance import COARSE, FINE, Keys, Past, joined, keys_where, likeness, together
from fewshot_seg.matching.features import Features
from fewshot_seg.matching.locators import Located
from fewshot_seg.prompts.constraints import share_of
from fewshot_seg.segmentation.results import Segmentation

_LAST = 2  # frames that are remembered, beside the surest
_SURE = 0.8  # of the map and of a cell's share of the mask: the object for sure; 1 less this: not the object
_SAME_SCENE = 0.42  # likeness of two frames, below which the scene has changed
_SMALL = 96  # pixels, longer side of the mask that distances are measured on


@dataclass
class _Object:
    last: deque[Keys] = field(default_factory=lambda: deque(maxlen=_LAST))
    surest: Keys | None = None
    sureness: float = 0.0
    distance: Tensor | None = None

    def past(self) -> Past | None:
        frames = list(self.last)
        if self.surest is not None and not any(self.surest is keys for keys in frames):
            frames.append(self.surest)
        return Past(together(frames), self.distance) if frames else None


class Memory:
    """What was found of each class in the frames so far; it holds a few frames' keys, however many there were."""

    def __init__(self, classes: int) -> None:
        self._objects = [_Object() for _ in range(classes)]
        self._before: Keys | None = None  # the last frame's positions, on the coarse grid

    def past(self, features: Features) -> tuple[Past | None, ...]:
        """What is known of each class when the next frame comes."""
        seen = joined(features.maps, COARSE)
        if seen is not None and self._before is not None and likeness(seen, self._before) < _SAME_SCENE:
            for one in self._objects:
                one.distance = None
        return tuple(one.past() for one in self._objects)

    def remember(self, features: Features, located: Located, result: Segmentation) -> None:
        """Takes in one frame: maps (N,h,w), and the masks that came of them."""
        fine, coarse = joined(features.maps, FINE), joined(features.maps, COARSE)
        if fine is None or coarse is None:
            return
        positions = coarse.flatten(1).T
        self._before = Keys(positions, positions[:0])
        for one, map_, found in zip(self._objects, located.maps, result.objects, strict=True):
            mask = found.mask
            one.distance = _distance(mask) if mask.any() else None
            keys = _sure_keys(fine, map_, mask) if mask.any() else None
            if keys is None:
                continue
            one.last.append(keys)
            sureness = expected_iou(mask, resize_map(map_, result.size))
            if sureness >= one.sureness:
                one.surest, one.sureness = keys, sureness


def _sure_keys(vectors: Tensor, map_: NDArray[np.float32], mask: NDArray[np.bool_]) -> Keys | None:
    """The positions of a frame (m,h,w) that are sure; None without any of the object."""
    h, w = vectors.shape[1:]
    share, probability = share_of(mask, (h, w)), resize_map(map_, (h, w))
    inside, outside = np.minimum(share, probability) >= _SURE, np.maximum(share, probability) <= 1 - _SURE
    if not inside.any() or not outside.any():
        return None
    return keys_where(vectors, torch.from_numpy(inside), torch.from_numpy(outside))


def _distance(mask: NDArray[np.bool_]) -> Tensor:
    """(h,w) float32: how far each pixel of a small image is from a mask (H,W), in lengths of the longer side."""
    scale = _SMALL / max(mask.shape)
    size = tuple(max(1, round(side * scale)) for side in mask.shape)
    small = share_of(mask, (size[0], size[1])) > 0
    distance = cv2.distanceTransform((~small).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return torch.from_numpy(distance / np.float32(_SMALL))
