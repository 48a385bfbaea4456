"""Refiners by name: a located map to a mask, by what the image shows. Ours and others' are one kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.guided import join
from fewshot_seg.cutting.refine import GrabCutOptions, grabcut, random_walk
from fewshot_seg.errors import ConfigError
from fewshot_seg.plugins import REFINERS, find_plugin, plugin_names

NO_REFINER: Final = "none"
DEFAULT_REFINER: Final = "guided"


@dataclass(frozen=True, eq=False)
class Scene:
    """What a refiner is told: an image, and where one object seems to be. (h,w) is the working size.

    Attributes:
        image: (H,W,3) uint8 RGB, native size.
        small: (h,w,3) uint8 RGB.
        trimap: (h,w) uint8, cv2's values: 0 background, 1 foreground, 2 probably background, 3 probably foreground.
            What the user said of the image is in it.
        map: (h,w) float32 in [0, 1], how likely each pixel is the object's.
        probabilistic: whether the map holds probabilities; attention is only scaled.
    """

    image: NDArray[np.uint8]
    small: NDArray[np.uint8]
    trimap: NDArray[np.uint8]
    map: NDArray[np.float32]
    probabilistic: bool = True


@dataclass(frozen=True)
class RefinerSetting:
    """What a refiner is built with.

    Attributes:
        weights: a file or folder that the user named, for refiners that load one.
        device: where the embedder is, as torch says it.
        seed: of everything random.
        grabcut: GrabCut's options.
    """

    weights: str | None = None
    device: str = "cpu"
    seed: int = 0
    grabcut: GrabCutOptions = field(default_factory=GrabCutOptions)


Refiner: TypeAlias = Callable[[Scene], NDArray[np.bool_]]
"""A scene to a mask, (h,w) or (H,W). Several threads may call it at a time."""


def refiner_names() -> tuple[str, ...]:
    """The names that `build_refiner` takes."""
    return (*plugin_names(REFINERS), NO_REFINER)


def check_refiner(name: str) -> None:
    """ConfigError: there is no such refiner here."""
    if name not in (DEFAULT_REFINER, NO_REFINER) and find_plugin(REFINERS, name) is None:
        raise ConfigError(f"unknown refine {name!r}: choose {' or '.join(refiner_names())}")


def build_refiner(name: str, setting: RefinerSetting) -> Refiner | None:
    """The refiner called `name`, whose results are checked; None for "none".

    Raises:
        ConfigError: no such refiner, or it can't be imported or built.
    """
    if name == NO_REFINER:
        return None
    check_refiner(name)
    plugin = find_plugin(REFINERS, name)
    assert plugin is not None
    refine = plugin.call(plugin.load(), setting)
    if not callable(refine):
        raise plugin.refusal(f"built {type(refine).__name__}, not callable")

    def checked(scene: Scene) -> NDArray[np.bool_]:
        return plugin.mask(plugin.call(refine, scene), scene.trimap.shape, scene.image.shape[:2])

    return checked


def build_grabcut(setting: RefinerSetting) -> Refiner:
    """GrabCut of the small image, from the trimap."""
    return lambda scene: grabcut(scene.small, scene.trimap, setting.grabcut, setting.seed)


def build_guided(setting: RefinerSetting) -> Refiner:
    """GrabCut's mask, the map and colours, joined at the image's edges; GrabCut alone of what is no probability."""

    def refine(scene: Scene) -> NDArray[np.bool_]:
        cut = grabcut(scene.small, scene.trimap, setting.grabcut, setting.seed)
        if not scene.probabilistic:
            return cut
        found = join(scene.small, scene.map, cut)
        return found if found.any() else cut

    return refine


def build_random_walk(setting: RefinerSetting) -> Refiner:
    """A random walk over the small image, from the trimap."""
    return lambda scene: random_walk(scene.small, scene.trimap)
