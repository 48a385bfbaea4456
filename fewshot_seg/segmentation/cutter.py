"""From located maps to masks: seeds, refinement, and the way back to native size, for every class of a query."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.refine import expected_iou, shrunk_mask, working_size
from fewshot_seg.cutting.refiners import RefinerSetting, Scene, build_refiner
from fewshot_seg.cutting.seeds import BACKGROUND, SeedOptions, foreground_of, trimap
from fewshot_seg.cutting.upsample import upsample_mask
from fewshot_seg.imaging.images import resize_map
from fewshot_seg.imaging.inputs import ImageInput
from fewshot_seg.matching.locators import Located
from fewshot_seg.prompts.constraints import Constraints, apply_to_mask, apply_to_trimap
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.results import ObjectResult, Segmentation

SEEDS_OF_PROBABILITIES = SeedOptions(threshold=0.4, background=0.2, foreground=0.5)
SEEDS_OF_DOUBT = SeedOptions(threshold="otsu", background=0.2, foreground=0.5)
"""Of probabilities that are low everywhere: where the object would be, if it is there, which presence decides."""
SEEDS_OF_ATTENTION = SeedOptions()

_SURE = 0.5  # more likely object than not, somewhere


class Target(NamedTuple):
    """A query with its maps."""

    source: str  # its path, or what it was
    image: NDArray[np.uint8]  # (H,W,3) RGB
    located: Located  # maps and scores of N classes
    constraints: tuple[Constraints | None, ...]  # what is known of each class's object
    given: ImageInput | None = None  # the query as it was given, which the result refers to


class _Cut(NamedTuple):
    mask: NDArray[np.bool_]  # (H,W)
    seeds: NDArray[np.uint8]  # (h',w')
    refined: bool


class Cutter:
    """Maps to masks, as the options say.

    Args:
        options: what to refine by, and how.
        device: where a refiner that is a network runs.

    Raises:
        ConfigError: a refiner that can't be built.
    """

    def __init__(self, options: SegmenterOptions, device: str = "cpu") -> None:
        self.options = options
        setting = RefinerSetting(options.refine_weights, device, options.seed, options.grabcut)
        self._refiner = build_refiner(options.refine, setting)

    def cut(self, target: Target, classes: tuple[str, ...]) -> Segmentation:
        """Where the masks of several classes cover a pixel, it goes to the one with the strongest map there."""
        size = target.image.shape[:2]
        labels = np.zeros(size, np.int32)
        strongest = np.zeros(size, np.float32) if len(classes) > 1 else None
        height, width = working_size(size, self.options.grabcut.working_size)
        small = np.asarray(cv2.resize(target.image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        cuts = []
        for place, map_ in enumerate(target.located.maps):
            one = self._one(target, small, place)
            cuts.append(one)
            if strongest is None:  # one class: nobody to compete with, and no native-size floats
                labels[one.mask] = 1
                continue
            here = resize_map(map_, size)
            mine = one.mask & (here > strongest)
            labels[mine], strongest[mine] = place + 1, here[mine]
        pairs = enumerate(zip(classes, cuts, strict=True))
        objects = tuple(self._object(target, labels, place, name, one) for place, (name, one) in pairs)
        return Segmentation(target.source, labels, objects, target.given)

    def _object(self, target: Target, labels: NDArray[np.int32], place: int, name: str, cut: _Cut) -> ObjectResult:
        located = target.located
        return ObjectResult(
            name=name,
            score=float(located.scores[place]),
            attention_map=located.maps[place],
            trimap=cut.seeds,
            label=place + 1,
            label_map=labels,
            refined=cut.refined,
            meaning="thing" if sum(located.meanings[place : place + 1]) >= _SURE else "kind",
            threshold=self._threshold(target, place),
        )

    def _one(self, target: Target, small: NDArray[np.uint8], place: int) -> _Cut:
        """One class alone, conflicts not yet resolved."""
        map_, constraints = target.located.maps[place], target.constraints[place]
        size, h_w = target.image.shape[:2], (small.shape[0], small.shape[1])
        threshold = self._threshold(target, place)
        if threshold is not None and target.located.scores[place] < threshold:
            return _Cut(np.zeros(size, bool), np.full(h_w, BACKGROUND, np.uint8), refined=False)
        seeds = trimap(map_, h_w, self._seeds(map_, target.located.probabilistic))
        if constraints is not None:
            seeds = apply_to_trimap(seeds, constraints)
        start, refined = foreground_of(seeds), False
        if self._refiner is not None:
            probability = resize_map(map_, h_w)
            found = self._refiner(Scene(target.image, small, seeds, probability, target.located.probabilistic))
            at_work = found if found.shape == h_w else shrunk_mask(found, h_w)
            refined = expected_iou(at_work, probability) >= self.options.keep * expected_iou(start, probability)
            start = found if refined else start
        mask = start if start.shape == size else upsample_mask(start, small, target.image)
        return _Cut(mask if constraints is None else apply_to_mask(mask, constraints), seeds, refined)

    def _threshold(self, target: Target, place: int) -> float | None:
        """The score below which an object is absent; None where it is there by what the user says."""
        constraints = target.constraints[place]
        said = constraints is not None and constraints.says_present
        return None if self.options.always or said or not target.located.probabilistic else self.options.presence

    def _seeds(self, map_: NDArray[np.float32], probabilistic: bool) -> SeedOptions:
        if self.options.seeds is not None:
            return self.options.seeds
        if not probabilistic:
            return SEEDS_OF_ATTENTION
        return SEEDS_OF_PROBABILITIES if map_.max() >= _SURE else SEEDS_OF_DOUBT
