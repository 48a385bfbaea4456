"""An index sees whole images at a size of its own, and keeps to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import fewshot_seg as fs
from fewshot_seg.cli import app
from fewshot_seg.network.embedder import Embedder
from fewshot_seg.network.embedding import RETRIEVAL_SIZE, for_retrieval


@pytest.fixture(scope="module")
def pretrained() -> Embedder:
    return fs.load_embedder("lite0", device="cpu")


def vectors_of(index: fs.Index) -> np.ndarray:
    return np.asarray(index.vectors)


def test_another_size_is_the_same_network(embedder: Embedder) -> None:
    other = embedder.at_size(96)
    assert (other.preprocessing.size, embedder.preprocessing.size) == (96, 64)
    assert other.at_size(64).spec == embedder.spec
    assert all(mine is theirs for mine, theirs in zip(other.parameters(), embedder.parameters(), strict=True))
    with pytest.raises(fs.ConfigError, match="size"):
        embedder.at_size(16)


def test_imagenet_s_weights_have_the_measured_size_and_others_their_own(
    pretrained: Embedder, embedder: Embedder
) -> None:
    assert for_retrieval(pretrained).preprocessing.size == RETRIEVAL_SIZE < pretrained.preprocessing.size
    assert for_retrieval(pretrained, 64).preprocessing.size == 64
    assert for_retrieval(embedder) is embedder


def test_an_index_embeds_at_its_size_and_scenes_at_the_network_s(pretrained: Embedder, pictures: Path) -> None:
    index = fs.Index.build(pictures, pretrained)
    assert index.identity.spec["preprocessing"]["size"] == index.embedder.preprocessing.size == RETRIEVAL_SIZE
    assert index.whole_embedder.preprocessing.size == pretrained.preprocessing.size
    expected = pretrained.at_size(RETRIEVAL_SIZE).embed(index.paths).vector
    torch.testing.assert_close(torch.from_numpy(vectors_of(index)), expected, atol=1e-5, rtol=0)


def test_a_size_of_one_s_own_stays(pretrained: Embedder, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    done = CliRunner().invoke(app, ["index", "build", str(out), str(pictures / "cat"), "-w", "lite0", "--size", "64"])
    assert done.exit_code == 0, done.output
    for index in (fs.Index.load(out), fs.Index.load(out, pretrained)):  # an embedder at its own size is brought to it
        assert index.embedder.preprocessing.size == 64
        hit = index.search(index.location(0), k=1)[0]
        assert (hit.path, hit.score > 0.999) == (index.paths[0], True)
    whole = vectors_of(fs.Index.build(pictures, pretrained, size=64))
    index.add(pictures)
    np.testing.assert_array_equal(np.sort(vectors_of(index), axis=0), np.sort(whole, axis=0))
