from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage

from fewshot_seg.errors import ConfigError, ImageError
from fewshot_seg.imaging.images import load_batch
from fewshot_seg.matching.features import LAST, FeatureCache, FeatureExtractor, Features, as_embedding
from fewshot_seg.network.embedding import Embedder, load_embedder
from fewshot_seg.segmentation.segmenter import Segmenter, Support

Image = NDArray[np.uint8]
MIB = 2**20


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder("default", device="cpu")


@pytest.fixture
def passes(embedder: Embedder) -> Iterator[list[int]]:
    """The sizes of the batches that go through the network."""
    seen: list[int] = []
    first = embedder.trunk.get_submodule("model.conv_stem")
    hook = first.register_forward_hook(lambda module, images, result: seen.append(len(images[0])))
    yield seen
    hook.remove()


@pytest.fixture
def cat() -> Image:
    return np.asarray(skimage.data.chelsea())


@pytest.fixture
def cat_file(cat: Image, tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    PilImage.fromarray(cat).save(path)
    return path


def of_bytes(count: int) -> Features:
    return Features({LAST: torch.zeros(count // 4 - 1, 1, 1)}, torch.zeros(1), (1, 1))


def only(extractor: FeatureExtractor, source: object) -> Features:
    (found,) = extractor.features([extractor.load(source, pixels=False)])  # type: ignore[arg-type]
    return found


# The cache alone


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = FeatureCache(300)
    a, b, c, d = (of_bytes(100) for _ in range(4))
    for key, value in (("a", a), ("b", b), ("c", c)):
        assert cache.get_or_make(key, lambda value=value: value) is value  # type: ignore[misc]
    assert (len(cache), cache.nbytes) == (3, 300)
    assert cache.get("a") is a
    cache.get_or_make("d", lambda: d)
    assert cache.get("b") is None
    assert [cache.get(key) for key in "acd"] == [a, c, d]
    assert (cache.nbytes, cache.made) == (300, 4)
    cache.clear()
    assert (len(cache), cache.nbytes, cache.get("a")) == (0, 0, None)


def test_the_limit_holds_for_entries_of_any_size() -> None:
    cache = FeatureCache(1000)
    rng = np.random.default_rng(0)
    for key in range(200):
        size = int(rng.integers(2, 300)) * 4
        cache.get_or_make(key, lambda size=size: of_bytes(size))  # type: ignore[misc]
        kept = [cache.get(k) for k in range(key + 1)]
        assert cache.nbytes == sum(one.nbytes for one in kept if one is not None) <= 1000
        assert (cache.get(key) is None) == (size > 1000)


@pytest.mark.parametrize("limit", [-1, 1.5, True, None])
def test_an_impossible_limit(limit: object) -> None:
    with pytest.raises(ConfigError, match="cache limit"):
        FeatureCache(limit)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, 10_000])
def test_threads_that_ask_at_once_share_one_pass(limit: int) -> None:
    cache = FeatureCache(limit)
    release, calls = threading.Event(), []

    def make() -> Features:
        calls.append(1)
        release.wait(10)
        return of_bytes(100)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.get_or_make, "key", make) for _ in range(8)]
        while not calls:
            pass
        release.set()
        assert len({id(one.result()) for one in asked}) <= (8 if limit == 0 else 1)
    assert len(calls) == cache.made
    assert limit == 0 or cache.made == 1


def test_many_threads_and_a_small_limit() -> None:
    cache, values = FeatureCache(1000), {key: of_bytes(100) for key in range(50)}

    def ask(seed: int) -> None:
        for key in np.random.default_rng(seed).integers(0, 50, 500).tolist():
            assert cache.get_or_make(key, lambda key=key: values[key]) is values[key]  # type: ignore[misc]

    with ThreadPoolExecutor(8) as pool:
        for asked in [pool.submit(ask, seed) for seed in range(8)]:
            asked.result()
    assert (len(cache), cache.nbytes) == (10, 1000)


def test_a_failure_reaches_everybody_and_is_not_kept() -> None:
    cache, started, release = FeatureCache(1000), threading.Event(), threading.Event()

    def fail() -> Features:
        started.set()
        release.wait(10)
        raise RuntimeError("out of memory")

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(cache.get_or_make, "key", fail)]
        started.wait(10)
        asked.append(pool.submit(cache.get_or_make, "key", fail))
        release.set()
        for one in asked:
            with pytest.raises(RuntimeError, match="out of memory"):
                one.result()
    assert cache.get_or_make("key", lambda: of_bytes(8)).nbytes == 8


# Images to features


def test_features_are_the_embedder_s(embedder: Embedder, cat: Image) -> None:
    expected = embedder(load_batch([cat, cat[:, ::-1].copy()], embedder))
    extractor = FeatureExtractor(embedder)
    found = extractor.features([extractor.load(image, pixels=False) for image in (cat, cat[:, ::-1].copy())])
    emb = as_embedding(found)
    assert torch.equal(emb.feature_map, expected.feature_map)
    assert torch.equal(emb.vector, expected.vector)
    assert found[0].size == cat.shape[:2]
    assert found[0].nbytes == 4 * (emb.feature_map[0].numel() + emb.vector[0].numel())


@pytest.mark.parametrize("kind", ["file", "text", "array", "pil"])
def test_an_image_goes_through_the_network_once(
    embedder: Embedder, passes: list[int], cat: Image, cat_file: Path, kind: str
) -> None:
    sources = {"file": cat_file, "text": str(cat_file), "array": cat, "pil": PilImage.fromarray(cat)}
    extractor = FeatureExtractor(embedder, FeatureCache(64 * MIB))
    first = only(extractor, sources[kind])
    again = extractor.load(sources[kind], pixels=True)
    assert extractor.features([again]) == [first]
    assert np.array_equal(again.pixels, cat)
    assert again.tensor is None
    assert passes == [1]


def test_a_known_file_is_not_even_opened(embedder: Embedder, cat_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = FeatureExtractor(embedder, FeatureCache(64 * MIB))
    first = only(extractor, cat_file)
    status = cat_file.stat()
    cat_file.write_bytes(bytes(status.st_size))  # no image any more, though the file looks the same
    os.utime(cat_file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert only(extractor, cat_file) is first
    monkeypatch.chdir(cat_file.parent)
    assert only(extractor, cat_file.name) is first
    with pytest.raises(ImageError, match=r"cat\.png"):
        extractor.load(cat_file, pixels=True)


def test_a_changed_file_is_read_anew(embedder: Embedder, cat: Image, cat_file: Path) -> None:
    extractor = FeatureExtractor(embedder, FeatureCache(64 * MIB))
    first = only(extractor, cat_file)
    PilImage.fromarray(cat[:200]).save(cat_file)
    assert only(extractor, cat_file).size == (200, cat.shape[1])
    cat_file.unlink()
    with pytest.raises(ImageError, match="no such file"):
        extractor.load(cat_file, pixels=False)
    assert first.size == cat.shape[:2]


def test_embedders_share_a_cache_but_nothing_in_it(embedder: Embedder, cat: Image) -> None:
    cache = FeatureCache(64 * MIB)
    other = copy.deepcopy(embedder)
    for parameter in other.trunk.parameters():
        parameter.data.mul_(0.9)
    ones = only(FeatureExtractor(embedder, cache), cat), only(FeatureExtractor(other, cache), cat)
    assert not torch.equal(ones[0].vector, ones[1].vector)
    assert len(cache) == 2


def test_a_cache_of_nothing_still_gives_features(embedder: Embedder, passes: list[int], cat: Image) -> None:
    extractor = FeatureExtractor(embedder, FeatureCache(0))
    assert torch.equal(only(extractor, cat).vector, only(extractor, cat).vector)
    assert passes == [1, 1]


# The segmenter with a cache


@pytest.mark.parametrize("limit", [MIB, 64 * MIB])
def test_the_segmenter_gives_the_same_bits_with_a_cache(embedder: Embedder, cat: Image, limit: int) -> None:
    cat, cup = cat[::3, ::3].copy(), skimage.data.coffee()[::4, ::4].copy()
    mask = np.zeros(cat.shape[:2], bool)
    mask[5:90, 5:120] = True
    supports = {"cat": [Support(cat, mask), cat[:, ::-1].copy()], "cup": cup}
    queries = [cat, cup, cat]
    plain = list(Segmenter(embedder).segment_many(queries, supports, batch_size=3))  # type: ignore[arg-type]
    cached = Segmenter(embedder, cache=FeatureCache(limit))
    for _ in range(2):
        for one, expected in zip(cached.segment_many(queries, supports, 2), plain, strict=True):  # type: ignore[arg-type]
            assert np.array_equal(one.label_map, expected.label_map)
            for a, b in zip(one.objects, expected.objects, strict=True):
                np.testing.assert_allclose(a.attention_map, b.attention_map, atol=1e-6)
                assert a.score == pytest.approx(b.score, abs=1e-6)


def test_query_and_support_of_one_image_are_one_pass(embedder: Embedder, passes: list[int], cat_file: Path) -> None:
    segmenter = Segmenter(embedder, cache=FeatureCache(64 * MIB))
    alone = segmenter.segment(cat_file, cat_file)
    assert passes == [1]
    assert np.array_equal(segmenter.segment(cat_file, cat_file).label_map, alone.label_map)
    again = Segmenter(embedder).segment(cat_file, cat_file)
    assert np.array_equal(again.objects[0].attention_map, alone.objects[0].attention_map)
    assert passes == [1, 1, 1]  # the last two were the segmenter without a cache
