"""Sequences: what is remembered, and that it helps, on real frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import fewshot_seg as fs
from fewshot_seg.errors import ImageError
from fewshot_seg.matching.features import LAST, Features
from fewshot_seg.matching.locators import Located
from fewshot_seg.segmentation.results import ObjectResult, Segmentation
from fewshot_seg.segmentation.segmenter import Segmenter, SegmenterOptions
from fewshot_seg.segmentation.sequence import Memory

SIZES = {"blocks.2": 16, "blocks.3": 8, "blocks.4": 8, "blocks.5": 4, "blocks.6": 4}


def features(seed: int) -> Features:
    made = torch.Generator().manual_seed(seed)
    maps = {name: torch.randn(12, side, side, generator=made) for name, side in SIZES.items()}
    return Features({LAST: torch.zeros(2, 4, 4), **maps}, torch.zeros(2), (64, 64))


def frame(mask: NDArray[np.bool_], sureness: float = 0.95) -> tuple[Located, Segmentation]:
    map_ = np.where(mask[::4, ::4], sureness, 1 - sureness).astype(np.float32)
    labels = mask.astype(np.int32)
    found = ObjectResult("it", 1.0, map_, np.zeros((4, 4), np.uint8), 1, labels)
    return Located(map_[None], np.ones(1, np.float32), probabilistic=True), Segmentation("frame", labels, (found,))


def square(top: int) -> NDArray[np.bool_]:
    mask = np.zeros((64, 64), bool)
    mask[top : top + 16, 16:32] = True
    return mask


def test_nothing_is_remembered_before_the_first_frame_nor_of_an_unsure_one() -> None:
    memory = Memory(1)
    assert memory.past(features(0)) == (None,)
    memory.remember(features(0), *frame(square(0), sureness=0.7))
    assert memory.past(features(0)) == (None,)


def test_the_last_two_frames_and_the_surest_are_remembered_however_many_there_were() -> None:
    memory = Memory(1)
    sizes = []
    for number, sureness in enumerate((0.99, 0.9, 0.9, 0.9, 0.9, 0.9)):
        memory.remember(features(number), *frame(square(16), sureness))
        (past,) = memory.past(features(number))
        assert past is not None
        sizes.append(len(past.keys.inside))
    assert sizes == [16, 32, 48, 48, 48, 48]


def test_distance_grows_away_from_where_the_object_was_and_goes_with_it() -> None:
    memory = Memory(1)
    memory.remember(features(0), *frame(square(16)))
    (past,) = memory.past(features(0))
    assert past is not None
    assert past.distance is not None
    assert past.distance.shape == (96, 96)
    assert (past.distance[24:48, 24:48] == 0).all()
    assert abs(float(past.distance[36, 95]) - (95 - 47) / 96) < 0.02
    memory.remember(features(0), *frame(np.zeros((64, 64), bool)))
    (lost,) = memory.past(features(0))
    assert lost is not None
    assert lost.distance is None


def test_after_a_cut_to_another_scene_nothing_is_near() -> None:
    memory = Memory(1)
    memory.remember(features(0), *frame(square(16)))
    (past,) = memory.past(features(99))
    assert past is not None
    assert past.distance is None


@pytest.fixture(scope="module")
def soapbox(shared_data: Path) -> tuple[list[Path], list[NDArray[np.bool_]]]:
    """Every sixth frame: a cart that comes nearer, among spectators."""
    folder = shared_data / "davis_dense"
    frames = sorted((folder / "JPEGImages" / "soapbox").glob("*.jpg"))[::2]
    masks = [folder / "Annotations" / "soapbox" / f"{path.stem}.png" for path in frames]
    return frames, [np.asarray(Image.open(path).convert("L")) > 127 for path in masks]


@pytest.mark.realdata
def test_a_masked_cart_is_followed_through_its_sequence(soapbox: tuple[list[Path], list[NDArray[np.bool_]]]) -> None:
    frames, masks = soapbox
    segmenter = Segmenter(fs.load_embedder("default", device="cpu"))
    prepared = segmenter.prepare(fs.Support(frames[0], mask=masks[0]))
    found = list(segmenter.segment_sequence(frames[1:], prepared))
    share = [(one.mask & mask).sum() / (one.mask | mask).sum() for one, mask in zip(found, masks[1:], strict=True)]
    assert np.mean(share) > 0.7
    assert {one.objects[0].meaning for one in found} == {"thing"}
    single = Segmenter(segmenter.embedder, SegmenterOptions(threads=1))
    again = list(single.segment_sequence(frames[1:4], single.prepare(fs.Support(frames[0], mask=masks[0]))))
    for one, other in zip(found, again, strict=False):
        assert (one.mask == other.mask).mean() > 0.999


@pytest.mark.realdata
def test_a_frame_that_cannot_be_read_is_passed_over(
    soapbox: tuple[list[Path], list[NDArray[np.bool_]]], tmp_path: Path
) -> None:
    frames, masks = soapbox
    (broken := tmp_path / "broken.jpg").write_bytes(b"no image")
    segmenter = Segmenter(fs.load_embedder("default", device="cpu"))
    prepared = segmenter.prepare(fs.Support(frames[0], mask=masks[0]))
    found = list(segmenter.segment_sequence([frames[1], broken, frames[2]], prepared, on_error="yield"))
    assert isinstance(found[1], ImageError)
    whole = list(segmenter.segment_sequence(frames[1:3], prepared))
    assert (whole[1].label_map == found[2].label_map).all()
    with pytest.raises(ImageError):
        list(segmenter.segment_sequence([broken], prepared))
