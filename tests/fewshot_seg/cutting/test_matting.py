"""Cut-outs: soft where the image is, and without the colours of what was behind."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fewshot_seg.cutting.matting import alpha_of, cut_out
from fewshot_seg.errors import ShapeError
from tests.fewshot_seg.cutting.test_refine import disc

OBJECT, BEHIND = np.array([200, 60, 40.0]), np.array([20, 90, 220.0])


def test_a_soft_edge_is_found_and_its_colours_are_the_object_s():
    truth = cv2.GaussianBlur(disc(400).astype(np.float32), (0, 0), 1.2)
    noise = np.random.default_rng(0).normal(0, 3, (400, 400, 3))
    blend = truth[..., None] * OBJECT + (1 - truth[..., None]) * BEHIND
    image = (blend + noise).clip(0, 255).astype(np.uint8)
    mask = truth > 0.5
    alpha = alpha_of(image, mask)
    edge = (truth > 0.1) & (truth < 0.9)
    assert abs(alpha - truth)[edge].mean() < 0.5 * abs(mask - truth)[edge].mean()
    found = cut_out(image, mask)
    halo = edge & (alpha > 0.1)
    assert abs(found[..., :3] - OBJECT)[halo].mean() < 0.5 * abs(image - OBJECT)[halo].mean()
    far = cv2.erode(mask.astype(np.uint8), np.ones((25, 25))) > 0
    assert (found[far] == np.dstack([image, np.full((400, 400), 255, np.uint8)])[far]).all()
    assert not found[..., 3][cv2.dilate(mask.astype(np.uint8), np.ones((25, 25))) == 0].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2)])
@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks_stay_so(size, value):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = cut_out(image, np.full(size, value))
    assert (found[..., 3] == 255 * value).all()
    assert np.array_equal(found[..., :3], image)


def test_slivers_and_shapes():
    image = np.random.default_rng(0).integers(0, 256, (2, 300, 3)).astype(np.uint8)
    mask = np.tile(np.arange(300) < 150, (2, 1))
    assert cut_out(image, mask).shape == (2, 300, 4)
    with pytest.raises(ShapeError):
        cut_out(image, mask.T)
