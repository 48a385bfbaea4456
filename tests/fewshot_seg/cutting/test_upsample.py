"""The way back to native size: on the image's edges, never blocky."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage

from fewshot_seg.cutting.refine import working_size
from fewshot_seg.cutting.upsample import upsample_mask
from fewshot_seg.errors import ShapeError
from fewshot_seg.imaging.images import read_image
from tests.fewshot_seg.cutting.test_refine import disc, iou, scene

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]


def shrink(image: Image, truth: Mask, longest: int) -> tuple[Mask, Image]:
    h, w = working_size(truth.shape, longest)
    covered = cv2.resize(truth.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
    return np.asarray(covered > 0.5), np.asarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA))


def interpolated(small: Mask, size: tuple[int, int], how: int) -> Mask:
    return np.asarray(cv2.resize(small.astype(np.float32), size[::-1], interpolation=how) > 0.5)


def test_edges_are_where_the_image_has_them() -> None:
    truth = disc(960)
    image = scene(truth)
    small, small_image = shrink(image, truth, 60)
    found = upsample_mask(small, small_image, image)
    assert found.shape == truth.shape
    assert iou(found, truth) > iou(interpolated(small, truth.shape, cv2.INTER_NEAREST), truth) + 0.005
    assert iou(found, truth) > 0.985


@pytest.mark.realdata
def test_keeps_more_of_real_masks_than_interpolation(shared_data: Path) -> None:
    ours, bilinear, nearest = [], [], []
    for path in sorted((shared_data / "voc" / "SegmentationClass").glob("*.png"))[::14]:
        labels = np.array(PilImage.open(path))
        image = read_image(shared_data / "voc" / "JPEGImages" / f"{path.stem}.jpg")
        truth, known = labels > 0, labels != 255
        small, small_image = shrink(image, truth, 100)
        ours.append(iou(upsample_mask(small, small_image, image) & known, truth & known))
        bilinear.append(iou(interpolated(small, truth.shape, cv2.INTER_LINEAR) & known, truth & known))
        nearest.append(iou(interpolated(small, truth.shape, cv2.INTER_NEAREST) & known, truth & known))
    assert np.mean(ours) > np.mean(bilinear) > np.mean(nearest)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (37, 61)])
@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks_stay_so(size: tuple[int, int], value: bool) -> None:
    image = np.zeros((*size, 3), np.uint8)
    small = working_size(size, 32)
    assert (upsample_mask(np.full(small, value), np.zeros((*small, 3), np.uint8), image) == value).all()


@pytest.mark.parametrize("size", [(1, 4000), (3, 500), (500, 2)])
def test_slivers(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    truth = np.zeros(size, bool)
    truth[: size[0] // 2 + 1, : size[1] // 2 + 1] = True
    small, small_image = shrink(image, truth, 64)
    assert upsample_mask(small, small_image, image).shape == size


def test_a_mask_of_native_size_is_returned_as_it_is() -> None:
    mask = disc(50)
    assert np.array_equal(upsample_mask(mask, scene(mask), scene(mask)), mask)


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError):
        upsample_mask(np.zeros((8, 8), bool), np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ShapeError):
        upsample_mask(np.zeros((8, 8), bool), np.zeros((8, 9, 3), np.uint8), np.zeros((20, 20, 3), np.uint8))
