"""The photographs of the demo, all shipped by scikit-image and matplotlib (see docs/demo-images.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot_seg.errors import DataError
from fewshot_seg.imaging.images import read_image
from fewshot_seg.imaging.render import above

Image8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """An (H, W, 3) uint8 image, a name fit for a file, and what was done to it, for the caption."""

    name: str
    image: Image8
    note: str = ""


@dataclass(frozen=True)
class Scene:
    """One query of the demo and its supports by class; `title` says what is asked."""

    title: str
    supports: dict[str, Picture]
    query: Picture


def scenes() -> list[Scene]:
    """The demo's scenes. DataError: an installed package no longer ships one of the photographs."""
    astronaut, cat, coffee = _skimage("astronaut.png"), _skimage("chelsea.png"), _skimage("coffee.png")
    left = Picture("motorcycle-left", _skimage("motorcycle_left.png"), "the left camera of a stereo pair")
    right = Picture("motorcycle-right", _skimage("motorcycle_right.png"), "its right camera")
    # There is one photograph each of a cat and a cup: a piece of it, mirrored, is the example.
    cat_face = Picture("cat-face", _mirrored(cat[:250, 30:380]), "cut out of the query, mirrored")
    cup = Picture("cup", _mirrored(coffee[:330, 80:480]), "cut out of the query, mirrored")
    head = Picture("astronaut-head", _mirrored(astronaut[:175, 105:315]), "cropped, mirrored")
    hopper, rocket = Picture("grace-hopper", _hopper()), Picture("rocket", _skimage("rocket.jpg"))
    return [
        Scene("a part, the whole", {"cup": cup}, Picture("coffee", coffee)),
        Scene(
            "two classes",
            {"cat": cat_face, "cup": cup},
            Picture("cat-and-cup", above(cat, coffee), "two photographs put together"),
        ),
        Scene("two classes", {"rocket": rocket, "person": hopper}, Picture("astronaut", astronaut)),
        Scene("one head, another head", {"head": head}, hopper),
        Scene("one view, the other view", {"motorcycle": left}, right),  # last: its terms are the least clear
    ]


def _skimage(name: str) -> Image8:
    import skimage

    return _read(Path(skimage.__file__).parent / "data" / name)


def _hopper() -> Image8:
    import matplotlib as mpl

    return _read(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg")


def _read(path: Path) -> Image8:
    if not path.is_file():
        raise DataError(f"the demo's photograph {path} is not there; reinstall scikit-image and matplotlib")
    return read_image(path)


def _mirrored(image: Image8) -> Image8:
    return np.ascontiguousarray(image[:, ::-1])
