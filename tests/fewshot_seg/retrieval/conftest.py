"""A small, real embedder and real photographs, which the tests of the index share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, load_embedder, save_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default network with its real weights, for small images."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_checkpoint(build_embedder(EmbedderSpec("default", preprocessing=Preprocessing(size=64)), weights=True), path)
    return path


@pytest.fixture(scope="session")
def embedder(checkpoint: Path) -> Embedder:
    return load_embedder(checkpoint, device="cpu")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of real photographs: folders cat and cup with five each, and one image beside them."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, photo in (("cat", skimage.data.chelsea()), ("cup", skimage.data.coffee())):
        (folder / name).mkdir()
        for number in range(5):
            top, left = 10 * number, 25 * number
            piece = np.ascontiguousarray(photo[top : top + 220, left : left + 280])
            Image.fromarray(piece).save(folder / name / f"{number}.jpg", quality=90)
    Image.fromarray(skimage.data.astronaut()[:200, 100:300]).save(folder / "face.jpg", quality=90)
    return folder
