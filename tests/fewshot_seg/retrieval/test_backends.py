"""FAISS and Milvus beside exact search: the real libraries, on indexes in real folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval.accelerators import FOLDER
from fewshot_seg.retrieval.backends import KINDS, rescored
from fewshot_seg.retrieval.contents import empty_contents
from fewshot_seg.retrieval.exact import top_k
from fewshot_seg.retrieval.folder import claim
from fewshot_seg.retrieval.identity import Identity
from fewshot_seg.retrieval.index import Index
from fewshot_seg.retrieval.rows import Row, Stamp
from fewshot_seg.retrieval.store import Store
from fewshot_seg.retrieval.vectors import Vectors
from tests.fewshot_seg.command_line import error_line, fewshot

COUNT, DIM = 2400, 32


def clustered(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, dim))
    vectors = centres[rng.integers(0, 40, count)] + 0.5 * rng.normal(size=(count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def rows_for(count: int) -> Sequence[Row]:
    return [Row(f"/photos/{n}.jpg", None, Stamp(1, 1), "0", {"camera": str(n % 3)}) for n in range(count)]


def write_index(folder: Path, vectors: np.ndarray) -> Index:
    """An index of vectors that no image has."""
    identity = Identity(None, {"backbone": "none", "preprocessing": {}}, "0", vectors.shape[1])
    with claim(folder, None):
        store = Store(empty_contents(identity, folder))
        for row, vector in zip(rows_for(len(vectors)), vectors, strict=True):
            store.append(row, vector)
        store.commit(count=True, columns=("camera",))
    return Index.load(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("backends") / "index"
    write_index(where, clustered(COUNT, DIM))
    return where


@pytest.mark.parametrize(("kind", "least"), [("faiss-flat", 1.0), ("faiss-hnsw", 0.95), ("faiss-ivfpq", 0.8)])
def test_what_faiss_finds_has_the_exact_scores_and_places(folder: Path, kind: str, least: float) -> None:
    index = Index.load(folder)
    queries = torch.from_numpy(clustered(50, DIM, seed=1))
    exact = index.search_vectors(queries, 10)
    made = index.accelerate(kind, threads=1)
    assert least <= made.recall <= 1
    assert made.bytes == (folder / FOLDER / made.file).stat().st_size
    again = Index.load(folder)
    again.use_backend(kind)
    for found in (index.search_vectors(queries, 10), again.search_vectors(queries, 10)):
        shared = same = 0
        for place in range(len(queries)):
            truth = dict(zip(exact.rows[place].tolist(), exact.scores[place].tolist(), strict=True))
            scores = found.scores[place].tolist()
            assert scores == sorted(scores, reverse=True)
            for row, score in zip(found.rows[place].tolist(), scores, strict=True):
                shared += row in truth
                same += truth.get(row) == score
        assert shared == same  # to the bit
        assert shared >= least * 500
    index.use_backend("exact")
    assert torch.equal(index.search_vectors(queries, 10).rows, exact.rows)


def test_milvus_in_a_file_finds_the_same_and_keeps_path_and_columns(folder: Path) -> None:
    index = Index.load(folder)
    queries = torch.from_numpy(clustered(20, DIM, seed=2))
    exact = index.search_vectors(queries, 5)
    made = index.accelerate("milvus")
    assert made.recall >= 0.9
    found = index.search_vectors(queries, 5)
    assert (found.rows == exact.rows).float().mean() >= 0.9
    assert index._backend is not None
    client: Any = index._backend[2].client  # type: ignore[attr-defined]
    (row,) = client.query(made.collection, filter="row == 7", output_fields=["path", "columns"])
    assert (row["path"], row["columns"]) == ("/photos/7.jpg", {"camera": "1"})
    first = client.list_collections()
    index.accelerate("milvus")  # the old one goes when the new one is there
    assert len(client.list_collections()) == len(first) == 1


def test_a_stale_backend_is_refused_until_it_is_made_again(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    where = tmp_path / "index"
    index = Index.build(pictures / "cat", embedder, where)
    index.accelerate("faiss-hnsw")
    other = Index.load(where, embedder)
    other.use_backend("faiss-hnsw")
    index.add(pictures / "cup")
    with pytest.raises(ConfigError, match="has changed since"):
        index.search(pictures / "cup" / "0.jpg")
    with pytest.raises(ConfigError, match="has changed since"):
        Index.load(where).use_backend("faiss-hnsw")
    assert len(other.search(pictures / "cat" / "0.jpg", k=3)) == 3  # as it was when it was loaded
    index.accelerate("faiss-hnsw")
    assert len(list((where / FOLDER).glob("*.faiss"))) == 1
    assert index.search(pictures / "cup" / "0.jpg", k=3)[0].path.endswith("0.jpg")
    index.remove([str(pictures / "cup" / "0.jpg")])
    with pytest.raises(ConfigError, match="run 'fewshot-seg index accelerate"):
        index.search(pictures / "cat" / "0.jpg")


def test_more_than_there_are_come_from_exact_search(embedder: Embedder, pictures: Path, tmp_path: Path) -> None:
    index = Index.build(pictures / "cat", embedder, tmp_path / "index")
    index.accelerate("faiss-hnsw")
    assert len(index.search(pictures / "cat" / "0.jpg", k=50)) == 5


def test_a_damaged_file_is_named(folder: Path) -> None:
    made = Index.load(folder).accelerate("faiss-flat")
    path = folder / FOLDER / made.file
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match=made.file):
        Index.load(folder).use_backend("faiss-flat")
    path.write_bytes(b"x" * len(content))
    with pytest.raises(DataError, match=made.file):
        Index.load(folder).use_backend("faiss-flat")
    (folder / FOLDER / "faiss-flat.json").write_text("{")
    with pytest.raises(DataError, match=r"faiss-flat\.json"):
        Index.load(folder).use_backend("faiss-flat")
    Index.load(folder).accelerate("faiss-flat")  # mends it
    Index.load(folder).use_backend("faiss-flat")


def test_what_cannot_be_made_is_said(folder: Path, tmp_path: Path) -> None:
    index = Index.load(folder)
    with pytest.raises(ConfigError, match="unknown accelerator 'annoy'"):
        index.accelerate("annoy")
    with pytest.raises(ConfigError, match="for milvus"):
        index.accelerate("faiss-flat", uri="http://localhost:19530")
    with pytest.raises(ConfigError, match=r"Milvus at .*nowhere"):
        index.accelerate("milvus", uri=str(tmp_path / "nowhere" / "x.db"))
    few = write_index(tmp_path / "few", clustered(50, 8))
    with pytest.raises(ConfigError, match="2000 images or more"):
        few.accelerate("faiss-ivfpq")
    with pytest.raises(ConfigError, match="has no faiss-hnsw"):
        few.use_backend("faiss-hnsw")
    memory = Index(empty_contents(few.identity))
    with pytest.raises(ConfigError, match="in memory"):
        memory.accelerate("faiss-flat")


@pytest.mark.parametrize(
    ("kind", "module", "extra"), [("faiss-hnsw", "faiss", "faiss"), ("milvus", "pymilvus", "milvus")]
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as where it isn't installed
    line = error_line(fewshot("index", "accelerate", folder, "--with", kind))
    assert f"pip install 'fewshot-seg[{extra}]'" in line


def test_the_commands_make_and_use_a_backend(
    embedder: Embedder, checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    where = tmp_path / "index"
    Index.build(pictures, embedder, where)
    query, weights = pictures / "cat" / "1.jpg", ("--weights", checkpoint)
    line = error_line(fewshot("search", where, query, "--backend", "faiss-hnsw", *weights))
    assert "index accelerate" in line
    done = fewshot("index", "accelerate", where, "--with", "faiss-hnsw")
    assert done.exit_code == 0, done.output
    assert "100.0 % of the 10 nearest" in done.stdout
    plain = fewshot("search", where, query, "--json", *weights)
    fast = fewshot("search", where, query, "--json", "--backend", "faiss-hnsw", *weights)
    assert fast.stdout == plain.stdout


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 12))
def test_rescoring_everything_is_exact_search(seed: int, queries: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.integers(-2, 3, (12, 4)).astype(np.float32)  # many equal scores
    with_holes = np.repeat(gallery, 2, axis=0)
    vectors = Vectors(with_holes, np.arange(0, 24, 2))
    asked = torch.from_numpy(rng.integers(-2, 3, (queries, 4)).astype(np.float32))
    rows = np.stack([rng.permutation(12) for _ in range(queries)])
    found, exact = rescored(asked, vectors, rows, k), top_k(asked, gallery, k)
    assert torch.equal(found.scores, exact.scores)
    assert torch.equal(found.rows, exact.rows)


def test_rows_that_were_not_proposed_stay_last() -> None:
    vectors = Vectors(np.eye(3, dtype=np.float32))
    found = rescored(-torch.eye(3)[:1], vectors, np.array([[-1, 0, 2]]), 3)
    assert found.rows.tolist() == [[2, 0, -1]]
    assert found.scores.tolist() == [[0.0, -1.0, -np.inf]]


def test_every_kind_can_be_named_on_the_command_line() -> None:
    from fewshot_seg.commands.accelerate import Accelerating, Backend

    assert set(get_args(Accelerating)) == set(KINDS)
    assert set(get_args(get_args(Backend)[0])) == {"exact", *KINDS}


@pytest.fixture(autouse=True)
def _one_thread_again() -> Iterator[None]:
    import faiss

    before = faiss.omp_get_max_threads()
    yield
    faiss.omp_set_num_threads(before)
