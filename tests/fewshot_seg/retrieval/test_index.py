"""An index: what is in it, what it finds, and that it stays itself on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import fewshot_seg as fs
from fewshot_seg.network.embedding import Embedder


def paths_of(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.jpg"))


def test_every_image_is_there_with_the_vector_that_the_embedder_gives(pictures: Path, embedder: Embedder) -> None:
    index = fs.Index.build(pictures, embedder, batch_size=3)
    assert sorted(index.paths) == paths_of(pictures)
    expected = embedder.embed(index.paths).vector
    assert torch.equal(torch.from_numpy(np.asarray(index.vectors)), expected)


def test_saved_and_loaded_it_finds_the_same(pictures: Path, embedder: Embedder, tmp_path: Path) -> None:
    paths = paths_of(pictures)
    names = [Path(path).parent.name for path in paths]
    index = fs.Index.build(paths, embedder, columns={"id": names})
    index.save(tmp_path / "index")
    loaded = fs.Index.load(tmp_path / "index")
    query = paths[1]
    before, after = (one.search(query, k=4) for one in (index, loaded))
    assert [(hit.path, hit.score, hit.columns) for hit in before] == [(h.path, h.score, h.columns) for h in after]
    assert before[0].path == query
    assert before[0].score > 0.9999
    assert [hit.columns["id"] for hit in before] == [Path(hit.path).parent.name for hit in before]
    assert loaded.columns == {"id": names}
    assert torch.equal(torch.as_tensor(np.asarray(index.vectors)), torch.as_tensor(np.asarray(loaded.vectors)))


def test_hits_are_those_of_the_slow_way(pictures: Path, embedder: Embedder) -> None:
    index = fs.Index.build(pictures, embedder)
    query = embedder.embed([str(pictures / "cup" / "2.jpg")]).vector[0].double()
    cosines = np.asarray(index.vectors, np.float64) @ query.numpy()
    order = np.argsort(-cosines, kind="stable")
    hits = index.search(pictures / "cup" / "2.jpg", k=len(index))
    assert [hit.row for hit in hits] == order.tolist()
    assert np.allclose([hit.score for hit in hits], cosines[order], atol=1e-6)


def test_maps_say_why(pictures: Path, embedder: Embedder) -> None:
    index = fs.Index.build(pictures / "cat", embedder)
    hit = index.search(pictures / "face.jpg", k=1)[0]
    maps = hit.maps()
    for each in maps:
        assert each.shape == (2, 2)
        assert 0 <= each.min() <= each.max() == 1
