"""A small set in Market-1501's layout that a network of random weights can tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PEOPLE, CAMERAS = 5, 2


def make_people(root: Path) -> Path:
    """PEOPLE + 1 identities (0000: distractors; -1: junk), two views a camera in the gallery, one query a camera."""
    draws = np.random.default_rng(0)
    for part in ("bounding_box_train", "query", "bounding_box_test"):
        (root / part).mkdir(parents=True)
    for number in range(-1, PEOPLE + 1):
        name = "-1" if number < 0 else f"{number:04d}"
        colour = draws.integers(40, 216, 3)
        for camera in range(1, CAMERAS + 1):
            for view in range(3):
                pixels = colour + 15 * camera + draws.normal(0, 50, (48, 24, 3))
                part = "query" if view == 2 and number > 0 else "bounding_box_test"
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(root / part / f"{name}_c{camera}s1_{view}_1.png")
    return root
