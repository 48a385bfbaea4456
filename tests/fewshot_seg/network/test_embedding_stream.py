"""Images to vectors in a stream: the same as one by one, in order, lazily; errors in their places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fewshot_seg.errors import ConfigError, FewShotError, ImageError
from fewshot_seg.imaging.images import Preprocessing, load_batch
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder
from fewshot_seg.network.embedding_stream import embed_stream


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    torch.manual_seed(0)
    spec = EmbedderSpec("timm/test_efficientnet", preprocessing=Preprocessing(size=64))
    return build_embedder(spec, weights=False).requires_grad_(False)


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> list[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(7)]
    for number, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 256, (40 + number, 200, 3), np.uint8)).save(path)
    return paths


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 2), (8, 3)])
def test_as_one_by_one(embedder: Embedder, images: list[Path], batch_size: int, workers: int) -> None:
    found = list(embed_stream(embedder, images, batch_size, workers))
    assert len(found) == len(images)
    for path, vector in zip(images, found, strict=True):
        expected = embedder(load_batch([path], embedder)).vector[0]
        torch.testing.assert_close(vector, expected, atol=1e-6, rtol=1e-5)
    again = list(embed_stream(embedder, images[::-1], workers=1))
    assert all(torch.equal(a, b) for a, b in zip(again[::-1], found, strict=True))


def test_errors_in_their_places(embedder: Embedder, images: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    found = list(embed_stream(embedder, [images[0], bad, images[1]], on_error="yield"))
    assert [isinstance(one, FewShotError) for one in found] == [False, True, False]
    stream = embed_stream(embedder, [images[0], bad])
    assert next(stream).shape == (embedder.dim,)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        next(stream)


def test_images_are_drawn_as_needed(embedder: Embedder, rng: np.random.Generator) -> None:
    drawn: list[int] = []

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            drawn.append(1)
            yield rng.integers(0, 256, (8, 8, 3), np.uint8)

    stream = embed_stream(embedder, endless(), batch_size=2, workers=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(drawn) <= 8


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": 0}, {"on_error": "ignore"}])
def test_impossible_values(embedder: Embedder, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="not such values"):
        embed_stream(embedder, [], **wrong)  # type: ignore[call-overload]
