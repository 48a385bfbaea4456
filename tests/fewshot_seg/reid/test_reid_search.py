"""`fewshot-seg reid`: hits, re-ranked or not, the query's camera kept or dropped, and what cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import fewshot_seg as fs
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.reid.expansion import ExpansionOptions, expand_queries
from fewshot_seg.reid.rerank import RerankOptions, rerank
from fewshot_seg.reid.search import SearchOptions, camera_of, check_camera, query_cameras, read_items, search_gallery
from tests.eval.tiny import tiny_checkpoint
from tests.fewshot_seg.command_line import error_line, fewshot, names_in
from tests.fewshot_seg.reid.people import make_people


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`people` in Market-1501's layout, its gallery as `index`, and `tiny.safetensors`."""
    folder = tmp_path_factory.mktemp("reid")
    (folder / "tiny.safetensors").write_bytes(tiny_checkpoint())
    make_people(folder / "people")
    items = read_items(folder / "people")
    fs.Index.build(items.paths, str(folder / "tiny.safetensors"), folder / "index", columns=items.columns)
    return folder


@pytest.fixture
def queries(people: Path) -> list[str]:
    return sorted(map(str, (people / "people" / "query").iterdir()))


def test_the_gallery_of_a_folder_has_ids_and_cameras_and_no_junk(people: Path, tmp_path: Path) -> None:
    items = read_items(people / "people")
    assert set(items.columns["id"]) == {"0000", "0001", "0002", "0003", "0004", "0005"}
    assert set(items.columns["camera"]) == {"1", "2"}
    inner = read_items(people / "people" / "bounding_box_test")
    assert sorted(items.paths) == sorted(inner.paths), "a folder of such names does without the layout"
    junk = tmp_path / "-1_c1s1_0.png"
    junk.write_bytes(Path(items.paths[0]).read_bytes())
    with pytest.raises(DataError, match="junk alone"):
        read_items(tmp_path)


def scores_of(index: fs.Index, queries: list[str], options: SearchOptions) -> np.ndarray:
    """(Q,G) scores by the whole ranked lists."""
    scores = np.full((len(queries), len(index)), np.nan)
    for place, hits in enumerate(search_gallery(index, queries, query_cameras(index, queries), options)):
        assert isinstance(hits, list)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for hit in hits:
            scores[place, hit.row] = hit.score
    return scores


@pytest.mark.parametrize("expanded", [None, ExpansionOptions(2)])
@pytest.mark.parametrize("reranked", [None, RerankOptions(5, 2)])
def test_scores_are_those_of_the_parts(people: Path, queries: list[str], expanded, reranked) -> None:
    index = fs.Index.load(people / "index")
    vectors = index.embedder.embed(queries).vector
    gallery = torch.from_numpy(np.asarray(index.vectors))
    if expanded is not None:
        vectors = expand_queries(vectors, gallery, expanded)
    expected = vectors @ gallery.T if reranked is None else 1 - rerank(vectors, gallery, reranked)
    found = scores_of(index, queries, SearchOptions(None, rerank=reranked, expansion=expanded))
    np.testing.assert_allclose(found, expected.clamp(max=1), atol=1e-5)


def test_a_query_s_camera_can_be_left_out(people: Path, queries: list[str]) -> None:
    index = fs.Index.load(people / "index")
    kept = scores_of(index, queries, SearchOptions(None))
    dropped = scores_of(index, queries, SearchOptions(None, same_camera="drop"))
    for place, query in enumerate(queries):
        own = np.array([camera == camera_of(query) for camera in index.columns["camera"]])
        assert np.isnan(dropped[place][own]).all()
        np.testing.assert_array_equal(dropped[place][~own], kept[place][~own])


def test_cameras_from_the_index_from_names_or_not_at_all(people: Path, tmp_path: Path) -> None:
    index = fs.Index.load(people / "index")
    stranger = tmp_path / "stranger.png"
    stranger.write_bytes(Path(index.location(0)).read_bytes())
    assert query_cameras(index, [index.location(0), "x/0007_c3s1_1.jpg", str(stranger)]) == ["1", "3", None]
    first, second = search_gallery(
        index, [str(stranger), str(stranger)], [None, "02"], SearchOptions(1, same_camera="drop")
    )
    assert isinstance(first, DataError)
    assert "camera isn't known" in str(first)
    assert isinstance(second, list)
    assert second[0].columns["camera"] == "1"
    bare = fs.Index.build([str(stranger), *index.paths[:1]], index.embedder)
    with pytest.raises(ConfigError, match="column 'camera'"):
        list(search_gallery(bare, [str(stranger)], ["1"], SearchOptions(same_camera="drop")))


def test_spellings_of_a_camera_meet_and_an_unknown_one_is_named(people: Path, queries: list[str]) -> None:
    """An index that writes "cam1", a query whose name says c1: its own copy is left out."""
    gallery = fs.Index.load(people / "index")
    paths = [gallery.location(row) for row in range(len(gallery))]
    written = [f"cam{camera}" for camera in gallery.columns["camera"]]
    index = fs.Index.build(paths, gallery.embedder, columns={"camera": written})
    own = index.location(0)
    for camera in ("1", "1.0", "CAM_01", "cam1"):
        (hits,) = search_gallery(index, [own], [check_camera(index, camera)], SearchOptions(5, "drop"))
        assert isinstance(hits, list)
        assert {hit.columns["camera"] for hit in hits} == {"cam2"}
    done = fewshot("reid", "search", people / "index", queries[0], "--camera", "9", "--same-camera", "drop")
    assert error_line(done).endswith("--camera 9: no image of the gallery is of this camera; there are 1, 2")


def test_hits_say_why(people: Path, queries: list[str]) -> None:
    index = fs.Index.load(people / "index")
    (hits,) = search_gallery(index, queries[:1], [None], SearchOptions(2, rerank=RerankOptions(5, 2)))
    assert isinstance(hits, list)
    maps = hits[0].maps()
    assert maps.query.shape == maps.hit.shape == (2, 2)
    assert 0 <= maps.hit.min() <= maps.hit.max() <= 1


def test_the_command_on_an_index(people: Path, queries: list[str], tmp_path: Path) -> None:
    out = [tmp_path / "why", tmp_path / "hits.jpg"]
    options = ["-k", "3", "--same-camera", "drop", "--rerank", "--query-expansion", "--json", "--threads", "1"]
    bad = tmp_path / "0001_c1_bad.jpg"
    bad.write_bytes(b"no image")
    done = fewshot(
        "reid", "search", people / "index", queries[0], bad, *options, "--explain", out[0], "--sheet", out[1]
    )
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [len(entry["hits"]) for entry in found] == [3, 0]
    assert {hit["camera"] for hit in found[0]["hits"]} == {"2"}
    assert "not an image" in found[1]["error"]
    assert len(names_in(out[0])) == 1
    assert out[1].stat().st_size > 0


def test_the_command_on_a_folder(people: Path, queries: list[str], tmp_path: Path) -> None:
    """An index made in memory ranks as the one that was saved."""
    tables = []
    for gallery, number in ((people / "people", 0), (people / "index", 1)):
        out = tmp_path / f"{number}.csv"
        done = fewshot("reid", "rank", gallery, *queries[:2], "-w", people / "tiny.safetensors", "--out", out)
        assert done.exit_code == 0, done.stderr
        assert "2 queries, 52 ranked images" in done.stdout
        tables.append(list(csv.DictReader(out.open(encoding="utf-8"))))
    assert [row["id"] for row in tables[0]] == [row["id"] for row in tables[1]]
    assert list(tables[0][0]) == ["query", "rank", "path", "score", "id", "camera"]


def test_what_cannot_be(people: Path, queries: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        SearchOptions(0)
    with pytest.raises(ConfigError, match="same_camera"):
        SearchOptions(same_camera="lose")  # type: ignore[arg-type]
    assert "--pattern is for a folder" in error_line(
        fewshot("reid", "search", people / "index", queries[0], "--pattern", "(?P<id>.*)")
    )
    (tmp_path / "photo.png").write_bytes(Path(queries[0]).read_bytes())
    assert "do not fit the pattern" in error_line(fewshot("reid", "search", tmp_path, queries[0]))
    assert "is no index" in error_line(fewshot("reid", "search", tmp_path / "nowhere", queries[0]))
    for command in ("search", "rank"):
        assert f"fewshot-seg reid {command}" in fewshot("reid", command, "--help").stdout
