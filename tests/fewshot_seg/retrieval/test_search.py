"""Searching: crops, several images, what is not meant, thresholds, and many queries."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fewshot_seg as fs
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval.search import UNLIKE_SHARE, Hit, cut_out


@pytest.fixture(scope="module")
def index(pictures: Path, embedder: Embedder) -> fs.Index:
    return fs.Index.build(pictures, embedder)


def scores_by_path(hits: list[Hit]) -> dict[str, float]:
    return {hit.path: hit.score for hit in hits}


def test_a_crop_is_searched_as_the_image_that_it_would_be(index: fs.Index, pictures: Path, tmp_path: Path) -> None:
    path, box = pictures / "cat" / "1.jpg", (30, 20, 150.5, 90)
    pixels = np.asarray(Image.open(path))[20:110, 30:181]
    assert np.array_equal(cut_out(path, box), pixels)
    Image.fromarray(pixels).save(tmp_path / "crop.png")
    from_box, from_file = index.search(path, box=box), index.search(tmp_path / "crop.png")
    assert scores_by_path(from_box) == scores_by_path(from_file)
    beyond = cut_out(path, (-10, -10, 1000, 30))  # what lies outside of the image doesn't count
    assert beyond.shape == (20, 280, 3)


def test_images_in_any_form_find_the_same(index: fs.Index, pictures: Path, embedder: Embedder) -> None:
    path, other = pictures / "cat" / "1.jpg", pictures / "face.jpg"
    content = path.read_bytes()
    tensor = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
    wanted = scores_by_path(index.search(path, unlike=[other], box=(30, 20, 150, 90)))
    for form in (content, io.BytesIO(content), tensor):
        found = index.search(form, unlike=[other.read_bytes()], box=(30, 20, 150, 90))
        assert scores_by_path(found) == wanted
        assert torch.equal(embedder.embed([form]).vector, embedder.embed([path]).vector)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5), (900, 0, 5, 5), (0, 0, float("nan"), 5)])
def test_a_box_that_is_none_is_refused(index: fs.Index, pictures: Path, box: tuple[float, ...]) -> None:
    with pytest.raises(fs.ConfigError, match="box"):
        index.search(pictures / "face.jpg", box=box)


def test_several_images_are_searched_by_their_average_or_by_any(index: fs.Index, pictures: Path) -> None:
    queries = [pictures / "cat" / "0.jpg", pictures / "cup" / "0.jpg"]
    rows = [index.paths.index(str(path)) for path in queries]
    vectors = np.asarray(index.vectors, np.float64)
    each = vectors @ vectors[rows].T  # (N, 2)
    average = vectors[rows].mean(0) / np.linalg.norm(vectors[rows].mean(0))
    for combine, expected in (("average", vectors @ average), ("any", each.max(1))):
        hits = index.search(queries, k=20, combine=combine)
        found = sorted(hits, key=lambda hit: (-round(hit.score, 5), hit.row))  # two are the queries themselves: both 1
        assert [hit.row for hit in found] == np.argsort(-expected.round(5), kind="stable").tolist()
        assert np.allclose([hit.score for hit in hits], sorted(expected, reverse=True), atol=1e-5)
        assert [hit.query for hit in hits] == each.argmax(1)[[hit.row for hit in hits]].tolist()


def test_what_is_not_meant_is_taken_out(index: fs.Index, pictures: Path) -> None:
    query, other = pictures / "face.jpg", pictures / "cat" / "2.jpg"
    vectors = np.asarray(index.vectors, np.float64)
    q, u = vectors[index.paths.index(str(query))], vectors[index.paths.index(str(other))]
    direction = q - UNLIKE_SHARE * u
    expected = vectors @ (direction / np.linalg.norm(direction))
    hits = index.search(query, k=20, unlike=[other])
    assert str(other) not in [hit.path for hit in hits]
    assert len(hits) == len(index) - 1
    assert np.allclose([hit.score for hit in hits], expected[[hit.row for hit in hits]], atol=1e-5)
    assert sorted(hits, key=lambda hit: -hit.score) == hits
    assert len(index.search(query, k=3, unlike=list((pictures / "cat").iterdir()))) == 3


def test_threshold_and_k_bound_the_hits(index: fs.Index, pictures: Path) -> None:
    every = index.search(pictures / "face.jpg", k=100)
    assert len(every) == len(index)
    limit = every[3].score
    assert [hit.path for hit in index.search(pictures / "face.jpg", k=100, threshold=limit)] == [
        h.path for h in every[:4]
    ]
    for k in (0, -1, 2.5):
        with pytest.raises(fs.ConfigError, match="k is"):
            index.search(pictures / "face.jpg", k=k)  # type: ignore[arg-type]
    with pytest.raises(fs.ConfigError, match="choose average or any"):
        index.search(pictures / "face.jpg", combine="all")  # type: ignore[arg-type]
    with pytest.raises(fs.DataError, match="no query"):
        index.search([])


def test_many_queries_give_what_each_gives_alone(index: fs.Index, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"text")
    queries = [pictures / "cat" / "0.jpg", tmp_path / "bad.jpg", np.zeros((5, 5, 3), np.uint8), pictures / "face.jpg"]
    for batch_size in (1, 3):
        found = list(index.search_each(queries, k=4, unlike=[pictures / "cup" / "0.jpg"], batch_size=batch_size))
        assert isinstance(found[1], fs.ImageError)
        for query, hits in zip(queries, found, strict=True):
            if not isinstance(hits, fs.FewShotError):
                alone = index.search(query, k=4, unlike=[pictures / "cup" / "0.jpg"])
                assert scores_by_path(hits) == scores_by_path(alone)
    assert [type(one) for one in index.search_each([tmp_path / "bad.jpg"])] == [fs.ImageError]


def test_an_empty_index_finds_nothing(pictures: Path, embedder: Embedder) -> None:
    index = fs.Index.build(pictures / "face.jpg", embedder)
    index.remove(pictures / "face.jpg")
    assert index.search(pictures / "face.jpg", unlike=[pictures / "cat" / "0.jpg"]) == []
    assert list(index.search_each([pictures / "face.jpg"])) == [[]]
    assert index.duplicates() == []


def test_another_embedder_is_refused_and_what_differs_is_said(
    pictures: Path, embedder: Embedder, checkpoint: Path, tmp_path: Path
) -> None:
    fs.Index.build(pictures / "face.jpg", embedder, tmp_path / "index")
    with pytest.raises(fs.ConfigError, match="another backbone"):
        fs.Index.load(tmp_path / "index", "lite0", device="cpu")
    # The same network at its own size is brought to the index's.
    same = fs.Index.load(tmp_path / "index", "default", device="cpu")
    assert same.search(pictures / "face.jpg")[0].score > 0.9999
    other = fs.load_embedder(checkpoint, device="cpu")
    other.spec = replace(other.spec, preprocessing=replace(other.preprocessing, mean=(0.5, 0.5, 0.5)))
    with pytest.raises(fs.ConfigError, match=r"another preprocessing \(mean"):
        fs.Index.load(tmp_path / "index", other)
    other = fs.load_embedder(checkpoint, device="cpu")
    next(iter(other.trunk.parameters())).data.mul_(1.01)
    with pytest.raises(fs.ConfigError, match="other weights"):
        fs.Index.load(tmp_path / "index", other)
    moved = fs.Index.load(tmp_path / "index")
    assert Path(moved.identity.source or "") == checkpoint
    assert moved.search(pictures / "face.jpg")[0].score > 0.9999


def test_weights_that_are_gone_are_named(pictures: Path, embedder: Embedder, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    fs.embedding.save_checkpoint(embedder, path)
    fs.Index.build(pictures / "face.jpg", str(path), tmp_path / "index")
    path.unlink()
    with pytest.raises(fs.CheckpointError, match=r"cannot be loaded: .*own.safetensors"):
        fs.Index.load(tmp_path / "index").search(pictures / "face.jpg")
    assert fs.Index.load(tmp_path / "index", embedder).search(pictures / "face.jpg")


def test_a_short_name_that_meant_another_network_finds_it_again(pictures: Path, tmp_path: Path) -> None:
    before = fs.load_embedder("lite0", device="cpu")
    before.source = "default"  # as it once was
    fs.Index.build(pictures / "face.jpg", before, tmp_path / "index")
    index = fs.Index.load(tmp_path / "index")
    assert index.search(pictures / "face.jpg")[0].score > 0.9999
    assert index.identity.source == "default"
    with pytest.raises(fs.ConfigError, match=r"made with default \(timm/tf_efficientnet_lite0\), and default \(timm/"):
        fs.Index.load(tmp_path / "index", "default", device="cpu")
