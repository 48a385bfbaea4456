"""The segmenter end to end, with the real default weights, on real photographs."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage

import fewshot_seg as fs
from fewshot_seg import attention
from fewshot_seg.cutting.seeds import SeedOptions
from fewshot_seg.errors import ConfigError, FewShotError, ImageError, ShapeError
from fewshot_seg.imaging.images import load_batch
from fewshot_seg.segmentation.segmenter import Segmentation, Segmenter, SegmenterOptions, Support

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(fs.load_embedder("default", device="cpu"))


@pytest.fixture(scope="module")
def cat() -> Image:
    return np.asarray(skimage.data.chelsea())


@pytest.fixture(scope="module")
def cup() -> Image:
    return np.asarray(skimage.data.coffee())


def same(a: Segmentation, b: Segmentation) -> bool:
    scores = [o.score for o in a.objects] == pytest.approx([o.score for o in b.objects])
    return bool(np.array_equal(a.label_map, b.label_map) and scores)


def test_result_is_at_native_size_and_complete(segmenter: Segmenter, cat: Image) -> None:
    result = segmenter.segment(cat, cat[:, ::-1].copy())
    height, width = cat.shape[:2]
    assert result.mask.shape == (height, width)
    assert result.mask.dtype == bool
    assert 0.1 < result.mask.mean() < 0.9
    assert result.label_map.dtype == np.int32
    assert result.classes == ("object",)
    (found,) = result.objects
    assert 0 < found.score <= 1
    assert 0 <= found.attention_map.min() < found.attention_map.max() <= 1
    assert found.attention.shape == (height, width)
    assert set(np.unique(found.trimap)) <= {0, 1, 2, 3}
    assert np.array_equal(found.mask, result.mask)


def test_the_attention_is_the_one_of_the_attention_module(segmenter: Segmenter, cat: Image, cup: Image) -> None:
    embedder = segmenter.embedder
    result = Segmenter(embedder, SegmenterOptions(locate_by="attention")).segment(cat, cup)
    query, support = (embedder(load_batch([image], embedder)) for image in (cat, cup))
    w = attention.shot_weights(query.vector, support.vector, weighting="overlap")
    maps = attention.scale_maps(attention.attention_maps(embedder, query, w, through_norm=False))
    np.testing.assert_allclose(result.objects[0].attention_map, maps[0].numpy(), atol=1e-4)


def test_two_classes_make_one_label_map(segmenter: Segmenter, cat: Image, cup: Image) -> None:
    both = np.hstack([cv2.resize(cat, (400, 400)), cv2.resize(cup, (400, 400))])
    result = segmenter.segment(both, {"cup": cup, "cat": [cat, cat[:, ::-1].copy()]})
    assert result.classes == ("cup", "cat")
    cups, cats = (o.mask for o in result.objects)
    assert not (cups & cats).any()
    assert np.array_equal(result.label_map, cups * 1 + cats * 2)
    assert cats[:, :400].sum() > 0.9 * cats.sum()
    assert cups[:, 400:].sum() > 0.9 * cups.sum()


def test_images_in_any_form_give_the_same(segmenter: Segmenter, cat: Image, tmp_path: Path) -> None:
    PilImage.fromarray(cat).save(tmp_path / "cat.png")
    content = (tmp_path / "cat.png").read_bytes()
    tensor = torch.from_numpy(cat.copy()).permute(2, 0, 1)
    mask = np.zeros(cat.shape[:2], np.uint8)
    mask[20:280, 20:360] = 255
    PilImage.fromarray(mask).save(stream := io.BytesIO(), "PNG")
    wanted = segmenter.segment(tmp_path / "cat.png", Support(cat, mask=mask))
    for form in (content, io.BytesIO(content), tensor):
        assert same(segmenter.segment(form, Support(form, mask=stream)), wanted)
    assert same(next(segmenter.segment_many(tensor[None], Support(cat, mask=torch.from_numpy(mask)))), wanted)
    assert segmenter.segment(content, tensor).source == f"bytes (length {len(content)})"


def test_batches_order_workers_and_threads_change_nothing(segmenter: Segmenter, cat: Image, cup: Image) -> None:
    queries = [cat, cup, cat[:, ::-1].copy(), cup[:200], cat[40:]]
    prepared = segmenter.prepare({"cat": cat, "cup": cup})
    expected = [segmenter.segment(query, prepared) for query in queries]
    for batch_size, workers in ((1, 1), (2, 3), (5, 1)):
        results = list(segmenter.segment_many(queries, prepared, batch_size, workers))
        assert all(same(a, b) for a, b in zip(results, expected, strict=True))
    backwards = list(segmenter.segment_many(queries[::-1], prepared))
    assert all(same(a, b) for a, b in zip(backwards[::-1], expected, strict=True))
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(1)
        single = Segmenter(segmenter.embedder, SegmenterOptions(threads=1))
        for query, result in zip(queries, expected, strict=True):
            other = single.segment(query, prepared).label_map
            assert (other != result.label_map).mean() < 1e-3  # sums in the network may be grouped in another order
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_supports_are_read_once(segmenter: Segmenter, cat: Image, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    PilImage.fromarray(cat).save(path)
    prepared = segmenter.prepare({"cat": path})
    path.unlink()
    assert segmenter.segment(cat, prepared).mask.any()


def test_a_mask_or_box_changes_what_the_support_means(segmenter: Segmenter, cat: Image, cup: Image) -> None:
    segmenter = Segmenter(segmenter.embedder, SegmenterOptions(locate_by="attention"))
    both = np.hstack([cv2.resize(cat, (400, 400)), cv2.resize(cup, (400, 400))])
    mask = np.zeros((400, 800), bool)
    mask[:, :400] = True
    masked = segmenter.prepare(Support(both, mask=mask)).state[0].vectors
    boxed = segmenter.prepare(Support(both, box=(0, 0, 400, 400))).state[0].vectors
    bare, alone = segmenter.prepare(both).state[0].vectors, segmenter.prepare(cat).state[0].vectors
    torch.testing.assert_close(masked, boxed)
    assert float(masked @ alone.T) > float(bare @ alone.T) + 0.1
    mixed = segmenter.prepare([Support(both, mask=mask), both]).state[0].vectors  # with and without, in one batch
    torch.testing.assert_close(mixed, torch.cat([masked, bare]), atol=1e-5, rtol=0)


def test_a_query_may_be_its_own_support(segmenter: Segmenter, cat: Image, cup: Image) -> None:
    result = segmenter.segment(cup, cup)
    assert result.mask.any()
    assert result.objects[0].score > max(segmenter.options.presence, segmenter.segment(cat, cup).objects[0].score)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (2, 2), (40, 3)])
def test_slivers(segmenter: Segmenter, cat: Image, size: tuple[int, int]) -> None:
    image = cv2.resize(cat, size[::-1])
    result = segmenter.segment(image, cat)
    assert result.label_map.shape == size
    assert segmenter.segment(cat, image).mask.shape == cat.shape[:2]  # as a support, too


@pytest.mark.parametrize("refine", ["guided", "none"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_is_no_failure(segmenter: Segmenter, cat: Image, level: int, refine: str) -> None:
    flat = np.full((60, 80, 3), level, np.uint8)
    with_options = Segmenter(segmenter.embedder, SegmenterOptions(refine=refine))  # type: ignore[arg-type]
    for query, support in ((flat, cat), (cat, flat), (flat, flat)):
        assert with_options.segment(query, {"a": support, "b": query[:, ::-1].copy()}).label_map.max() <= 2


def test_unreadable_queries_come_out_in_their_place(segmenter: Segmenter, cat: Image, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    prepared = segmenter.prepare(cat)
    queries = [bad, cat, tmp_path / "gone.jpg", cat, cat, bad]
    results = list(segmenter.segment_many(queries, prepared, batch_size=2, on_error="yield"))
    assert [isinstance(r, FewShotError) for r in results] == [True, False, True, False, False, True]
    assert "bad.jpg" in str(results[0])
    stream = segmenter.segment_many([cat, bad, cat], prepared)
    assert next(stream).mask.any()
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        next(stream)


def test_a_long_stream_is_lazy_and_flat(segmenter: Segmenter, cat: Image) -> None:
    """What is drawn ahead is bounded by batch and workers, not by the stream's length."""
    drawn = 0

    def endless() -> Iterator[Image]:
        nonlocal drawn
        for _ in range(1000):
            drawn += 1
            yield cat[:64, :64]

    stream = segmenter.segment_many(endless(), segmenter.prepare(cat), batch_size=4, workers=2)
    for _ in range(3):
        next(stream)
    assert drawn <= 16
    stream.close()  # type: ignore[attr-defined]

    def peak(count: int) -> int:
        tracemalloc.start()
        queries = (cat[::2, ::2] for _ in range(count))
        for _ in segmenter.segment_many(queries, prepared, batch_size=2, workers=2):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    prepared = segmenter.prepare(cat)
    peak(4)
    assert min(peak(24), peak(24)) < 1.3 * max(peak(8), peak(8)), "on a busy machine threads overlap by chance"


def test_options_reach_the_result(segmenter: Segmenter, cat: Image, cup: Image) -> None:
    loose = SegmenterOptions(refine="none", seeds=SeedOptions(threshold=0.05), always=True)
    strict = SegmenterOptions(refine="none", seeds=SeedOptions(threshold=0.5), always=True)
    areas = [Segmenter(segmenter.embedder, o).segment(cup, cup).mask.sum() for o in (loose, strict)]
    assert areas[0] > areas[1] > 0
    ways = [
        SegmenterOptions(),
        SegmenterOptions(locate_by="correspondence"),
        SegmenterOptions(locate_by="attention"),
        SegmenterOptions(locate_by="attention", weighting="paper", through_norm=True),
    ]
    maps = [Segmenter(segmenter.embedder, way).segment(cat, cup).objects[0].attention for way in ways]
    for place, one in enumerate(maps):
        assert not any(np.allclose(one, other, atol=0.05) for other in maps[:place])


def test_unusable_arguments(segmenter: Segmenter, cat: Image) -> None:
    prepared = segmenter.prepare(cat)
    with pytest.raises(ConfigError, match="at least 1"):
        segmenter.segment_many([cat], prepared, batch_size=0)
    for counts in ({"batch_size": 2.5}, {"batch_size": float("nan")}, {"workers": 1.5}):
        with pytest.raises(ConfigError, match="whole numbers"):
            segmenter.segment_many([cat], prepared, **counts)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="on_error 'skip'"):
        segmenter.segment_many([cat], prepared, on_error="skip")  # type: ignore[call-overload]
    with pytest.raises(ImageError, match="NoneType"):
        segmenter.segment(cat, None)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        segmenter.segment(cat[..., 0][None], prepared)
    with pytest.raises(ShapeError, match="mask"):
        segmenter.prepare(Support(cat, mask=np.ones((3, 3), bool)))
    for values in ({"refine": "magic"}, {"weighting": "magic"}, {"rejection": -1.0}, {"seed": -1}, {"threads": 0}):
        with pytest.raises(ConfigError):
            SegmenterOptions(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["seed", "threads"])
@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), -1, 2**40, "1"])
def test_counts_are_whole_numbers_in_range(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} .*whole number"):
        SegmenterOptions(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("rejection", [float("nan"), float("inf")])
def test_rejection_is_finite(rejection: float) -> None:
    with pytest.raises(ConfigError, match="finite"):
        SegmenterOptions(rejection=rejection)


def test_segment_many_takes_one_query_and_supports_as_they_are(segmenter: Segmenter, cat: Image, cup: Image) -> None:
    one = segmenter.segment(cat, cup)
    for query in (cat, PilImage.fromarray(cat), [cat], cat[None]):
        (many,) = segmenter.segment_many(query, {"object": cup})  # type: ignore[arg-type]
        assert same(one, many)


def test_supports_of_another_embedder_are_refused(segmenter: Segmenter, cat: Image) -> None:
    prepared = segmenter.prepare(cat)
    assert Segmenter(segmenter.embedder).segment(cat, prepared).mask.any()
    other = Segmenter(fs.load_embedder("default", device="cpu"))
    with pytest.raises(ConfigError, match="another embedder"):
        other.segment(cat, prepared)
