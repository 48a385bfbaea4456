"""The object of an example inside the images of an index."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fewshot_seg.errors import ConfigError, DataError, ImageError
from fewshot_seg.imaging.images import read_image
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.supports import Support
from fewshot_seg.retrieval.index import Index
from fewshot_seg.retrieval.regions import RegionHit, RegionSearcher, region_box
from fewshot_seg.retrieval.sources import Failure
from fewshot_seg.segmentation.options import SegmenterOptions


@pytest.fixture(scope="module")
def index(embedder: Embedder, pictures: Path) -> Index:
    return Index.build(pictures, embedder)


@pytest.fixture(scope="module")
def searcher(index: Index) -> RegionSearcher:
    return index.region_searcher()


def told(hits: list[RegionHit]) -> list[tuple[Any, ...]]:
    return [(hit.path, hit.score, hit.box, hit.row, hit.map.tobytes()) for hit in hits]


def test_images_of_the_object_come_first(index: Index, pictures: Path) -> None:
    hits = index.search_regions(pictures / "cat" / "2.jpg", k=5)
    assert hits[0].path == str(pictures / "cat" / "2.jpg")
    assert {Path(hit.path).parent.name for hit in hits} == {"cat"}
    assert all(earlier.score >= later.score for earlier, later in pairwise(hits))
    assert all(0 <= hit.score <= 1 for hit in hits)


def test_a_hit_knows_its_image_and_gives_the_region_as_box_and_mask(searcher: RegionSearcher, pictures: Path) -> None:
    (hit,) = searcher.search(pictures / "cup" / "0.jpg", k=1)
    assert (hit.location, hit.size, hit.columns) == (hit.path, (220, 280), {})
    mask = hit.mask()
    assert mask.shape == (220, 280)
    assert mask.dtype == bool
    assert mask.any()
    x, y, w, h = hit.box
    assert 0 <= x < x + w <= 280
    assert 0 <= y < y + h <= 220


def test_neither_batch_nor_threads_nor_the_order_of_the_index_change_anything(
    searcher: RegionSearcher, embedder: Embedder, pictures: Path
) -> None:
    example = pictures / "cat" / "1.jpg"
    first = told(searcher.search(example, k=11, batch_size=1, workers=1))
    assert told(searcher.search(example, k=11, batch_size=5, workers=3)) == first
    turned = Index.build(sorted(pictures.rglob("*.jpg"), reverse=True), embedder)
    by_path = {hit.path: (hit.score, hit.box) for hit in turned.search_regions(example, k=11)}
    assert by_path == {path: (score, box) for path, score, box, *_ in first}


def test_only_candidates_are_read(searcher: RegionSearcher, pictures: Path) -> None:
    wanted = searcher.prepare(pictures / "cat" / "0.jpg")
    near = searcher.candidates(wanted, 3)
    hits = searcher.search(wanted, k=2, candidates=3)
    assert {hit.row for hit in hits} <= set(near)
    assert len(searcher.search(wanted, k=4, candidates=1)) == 4  # at least as many as are asked for


def test_a_mask_says_which_of_two_things_is_meant(pictures: Path, searcher: RegionSearcher) -> None:
    cat, cup = (read_image(pictures / name / "0.jpg") for name in ("cat", "cup"))
    both = np.concatenate([cat, cup], 1)
    left = np.zeros(both.shape[:2], bool)
    left[:, : cat.shape[1]] = True
    lead = []  # of cats over cups
    for mask in (left, ~left):
        scores: dict[str, list[float]] = {"cat": [], "cup": [], "face.jpg": []}
        for hit in searcher.search(Support(both, mask=mask), k=11):
            scores[Path(hit.path).relative_to(pictures).parts[0]].append(hit.score)
        lead.append(np.mean(scores["cat"]) - np.mean(scores["cup"]))
    assert lead[0] > lead[1]


def test_several_examples_count_alike_in_any_order(searcher: RegionSearcher, pictures: Path) -> None:
    examples = [pictures / "cup" / "0.jpg", pictures / "cup" / "4.jpg"]
    one, other = (searcher.search(several, k=5) for several in (examples, examples[::-1]))
    assert {hit.path for hit in one} == {hit.path for hit in other}
    assert {Path(hit.path).parent.name for hit in one} == {"cup"}


def test_a_file_that_is_gone_is_told_and_the_others_are_found(
    embedder: Embedder, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for source in sorted(pictures.rglob("*.jpg"))[:4]:
        (tmp_path / source.name).write_bytes(source.read_bytes())
    index = Index.build(tmp_path, embedder)
    gone, broken, *_ = sorted(tmp_path.iterdir())
    hit = next(one for one in index.search_regions(pictures / "face.jpg", k=4) if one.path == str(gone))
    gone.unlink()
    broken.write_bytes(b"no image")
    failures: list[Failure] = []
    hits = index.search_regions(pictures / "face.jpg", k=4, on_failure=failures.append)
    assert len(hits) == 2
    assert {failure.path for failure in failures} == {str(gone), str(broken)}
    with caplog.at_level(logging.WARNING):
        assert len(index.search_regions(pictures / "face.jpg", k=4)) == 2
    assert gone.name in caplog.text
    with pytest.raises(ImageError, match="no such file"):
        hit.mask()


def test_progress_counts_candidates(searcher: RegionSearcher, pictures: Path) -> None:
    seen: list[tuple[int, str]] = []

    def track(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        seen.append((total, what))
        yield from items

    searcher.search(pictures / "face.jpg", k=1, candidates=2, progress=track)
    assert seen == [(2, "looking for the object")]


def test_an_embedder_without_matcher_or_classifier_searches_too(pictures: Path, index: Index) -> None:
    plain = index.region_searcher(SegmenterOptions(locate_by="attention"))
    assert len(plain.search(pictures / "cup" / "3.jpg", k=3)) == 3


@pytest.mark.parametrize("options", [{"k": 0}, {"candidates": 0}, {"k": True}, {"batch_size": 0}, {"workers": -1}])
def test_impossible_numbers_are_refused(searcher: RegionSearcher, pictures: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="whole numbers"):
        searcher.search(pictures / "face.jpg", **options)


def test_examples_that_are_none_are_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no example"):
        index.search_regions([])
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        index.search_regions(tmp_path / "missing.jpg")


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(0, 1, width=32)),
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
)
def test_a_box_lies_in_the_image_and_holds_the_peak(map_: np.ndarray, size: tuple[int, int]) -> None:
    x, y, w, h = region_box(map_, size)
    assert 0 <= x < x + w <= size[1]
    assert 0 <= y < y + h <= size[0]
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    middle = (column + 0.5) * size[1] / map_.shape[1], (row + 0.5) * size[0] / map_.shape[0]
    assert x <= middle[0] <= x + w
    assert y <= middle[1] <= y + h


def test_a_box_is_as_large_as_what_it_holds() -> None:
    map_ = np.zeros((4, 4), np.float32)
    assert region_box(map_, (40, 80)) == (0, 0, 80, 40)  # nowhere more than elsewhere
    map_[1:3, 2:] = 1
    x, y, w, h = region_box(map_, (40, 80))
    assert (x, y, w, h) == pytest.approx((40, 10, 40, 20), abs=3)
