"""Photographs that the tests of the commands share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real photographs: a cat, a piece of it, a cup, and a mask of the cat's size."""
    folder = tmp_path_factory.mktemp("photos")
    cat = skimage.data.chelsea()
    Image.fromarray(cat).save(folder / "cat.png")
    Image.fromarray(cat[:250, 30:380]).save(folder / "cat face.png")
    Image.fromarray(skimage.data.coffee()).save(folder / "cup.jpg")
    mask = np.zeros(cat.shape[:2], np.uint8)
    mask[20:280, 20:360] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:100]).save(folder / "small-mask.png")
    Image.fromarray(mask * 0).save(folder / "empty-mask.png")
    return folder
