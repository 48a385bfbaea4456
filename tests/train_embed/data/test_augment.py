"""Augmentation: a pure function of pixels and key, normalised as the network's input is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing, preprocess
from tests.fewshot_seg.image_files import picture
from train_embed.data.augment import PIPELINES, Augment

SMALL = Preprocessing(size=48)
AUGMENTS = {name: Augment(name, SMALL) for name in PIPELINES}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (48, 48), (300, 170)])
def test_any_image_becomes_the_networks_input(name, shape):
    tensor = AUGMENTS[name](picture(*shape), (0, 0, 0, 0))
    assert (tensor.shape, tensor.dtype) == ((3, 48, 48), torch.float32)
    low = (0 - np.array(SMALL.mean)) / SMALL.std
    high = (1 - np.array(SMALL.mean)) / SMALL.std
    assert (tensor.amin((1, 2)).numpy() >= low - 1e-5).all()
    assert (tensor.amax((1, 2)).numpy() <= high + 1e-5).all()


@given(st.tuples(*[st.integers(0, 2**40)] * 4), st.sampled_from(PIPELINES))
@settings(max_examples=40)
def test_a_draw_depends_on_the_key_alone(key, name):
    image = picture(60, 80)
    first = AUGMENTS[name](image, key)
    AUGMENTS[name](image, (*key[:3], key[3] + 1))
    np.random.seed(key[0] % 2**32)  # noqa: NPY002 - the global generators must not matter
    torch.manual_seed(key[1])
    other = pickle.loads(pickle.dumps(Augment(name, SMALL)))  # noqa: S301 - as a worker process gets it
    assert torch.equal(first, other(image, key))
    np.testing.assert_array_equal(image, picture(60, 80), "the image is not written to")


@pytest.mark.parametrize("name", ["retrieval", "reid"])
def test_every_part_of_the_key_counts(name):
    image = picture(60, 80)
    keys = [(0, 0, 0, 0), *(tuple(int(i == j) for i in range(4)) for j in range(4)), (0, 0, 0)]
    results = [AUGMENTS[name](image, key) for key in keys]
    for i, first in enumerate(results):
        assert not any(torch.equal(first, second) for second in results[i + 1 :])


def test_none_is_exactly_what_the_embedder_sees():
    image = picture(100, 130)
    assert torch.equal(AUGMENTS["none"](image, (1, 2, 3, 4)), preprocess(image, SMALL))


def test_a_draw_is_normalised_as_the_embedder_does():
    pixels = AUGMENTS["retrieval"].pixels(picture(), (1, 2, 3, 4))
    assert torch.equal(AUGMENTS["retrieval"](picture(), (1, 2, 3, 4)), preprocess(pixels, SMALL))


def flipped_and_erased(draw: int) -> tuple[bool, bool]:
    """Of a picture dark on the left and bright on the right, whose colours are far from the mean."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    pixels = AUGMENTS["reid"].pixels(image, (0, 0, draw, 0))[8:-8].astype(int)
    mean = np.round(255 * np.array(SMALL.mean))
    near = (np.abs(pixels - mean).max(axis=2) < 4)[:, 8:-8]
    left, right = np.median(pixels[:, 6:16]), np.median(pixels[:, -16:-6])
    return bool(left > right), bool(near.any())


def test_steps_draw_independently():
    """albumentations seeds all the steps of a pipeline alike, which would tie the flip to the erasing."""
    draws = np.array([flipped_and_erased(draw) for draw in range(300)])
    for flip in (False, True):
        erased = draws[draws[:, 0] == flip, 1]
        assert len(erased) > 100
        assert 0.25 < erased.mean() < 0.75


def test_what_is_erased_is_zero_to_the_network():
    tensors = torch.stack([AUGMENTS["reid"](np.full((64, 64, 3), 255, np.uint8), (0, 0, n, 0)) for n in range(20)])
    erased = (tensors.abs().amax(dim=1) < 0.01).flatten(1).float().mean(dim=1)  # (20,) share of positions
    assert erased.max() > 0.02
    assert erased.max() < 0.6


def test_bicubic_stays_bicubic():
    sharp = Augment("reid", Preprocessing(size=48, interpolation="bicubic"))
    assert not torch.equal(sharp(picture(20, 20), (0, 0, 0, 0)), AUGMENTS["reid"](picture(20, 20), (0, 0, 0, 0)))


def test_an_unknown_pipeline():
    with pytest.raises(ConfigError, match=r"'reids' \(did you mean 'reid'\?\)"):
        Augment("reids", SMALL)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_rectangle(name):
    tall = Augment(name, Preprocessing(size=64, width=32), erasing=0.5)
    for draw in range(5):
        assert tall(picture(100, 130), (0, 0, draw, 0)).shape == (3, 64, 32)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_probability_of_erasing(name):
    """Nothing of a white picture is as the mean colour unless it was padded or erased."""
    white = np.full((64, 64, 3), 255, np.uint8)

    def erased(probability):
        augment = Augment(name, SMALL, probability)
        draws = torch.stack([augment(white, (0, 0, n, 0)) for n in range(20)])[:, :, 6:-6, 6:-6]
        return int((draws.abs().amax(dim=1) < 0.05).flatten(1).any(1).sum())

    assert erased(0.0) == 0
    assert erased(1.0) >= 16  # some lie at the border
    assert 3 <= erased(0.5) <= 17


def test_without_a_probability_it_is_the_pipelines_own():
    image = picture(60, 80)
    for name, usual in (("retrieval", 0.0), ("reid", 0.5), ("none", 0.0)):
        for draw in range(4):
            key = (0, 0, draw, 0)
            assert torch.equal(AUGMENTS[name](image, key), Augment(name, SMALL, usual)(image, key))
