"""Loaders: the same batches whatever the workers, ranks and starts, and what happens to unreadable images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_seg.datasets.class_folder import load
from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.imaging.images import Preprocessing, preprocess, read_image
from train_embed.data.augment import Augment
from train_embed.data.loading import Batch, EvaluationLoader, TrainingLoader
from train_embed.data.samplers import PKSampler, TripletSampler

SMALL = Preprocessing(size=32)
RETRIEVAL, PLAIN = Augment("retrieval", SMALL), Augment("none", SMALL)


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    """4 classes of 4 images, each image of one grey of its own."""
    for label in range(4):
        (tmp_path / f"class{label}").mkdir()
        for number in range(4):
            value = 20 + 50 * label + 10 * number
            pixels = np.full((40, 50, 3), value, np.uint8)
            pixels[:10] //= 2
            Image.fromarray(pixels).save(tmp_path / f"class{label}" / f"{number}.png")
    return load(tmp_path, "train", train_classes=1.0)


def training(images: LabelledImages, augment: Augment = RETRIEVAL, **options) -> TrainingLoader:
    sampler = PKSampler(images.labels, 2, 2, seed=7)
    return TrainingLoader(images, sampler, augment, seed=3, **options)


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.indices, b.indices)
        for a, b in zip(first, second, strict=True)
    )


def spoil(images: LabelledImages, *indices: int) -> None:
    for index in indices:
        images.paths[index].write_bytes(b"no image")


def test_a_batch_holds_what_the_sampler_says(images):
    loader = training(images, PLAIN)
    batches = list(loader.epoch(2))
    assert len(batches) == len(loader) == 4
    for number, batch in enumerate(batches):
        assert tuple(batch.indices.tolist()) == loader.sampler.batch(2, number)
        assert batch.labels.tolist() == [images.labels[index] for index in batch.indices]
        expected = [preprocess(read_image(images.paths[index]), SMALL) for index in batch.indices]
        assert torch.equal(batch.images, torch.stack(expected))
        assert batch.images.dtype == torch.float32
        assert batch.unreadable == {}


def test_epochs_differ_and_repeat(images):
    loader = training(images)
    first, second = list(loader.epoch(0)), list(loader.epoch(1))
    assert not same(first, second)
    assert same(first, list(loader.epoch(0)))
    assert same(second, list(training(images).epoch(1)))


def test_an_epoch_goes_on_in_its_middle(images):
    whole = list(training(images).epoch(5))
    assert same(whole[3:], list(training(images).epoch(5, start=3)))
    assert list(training(images).epoch(5, start=4)) == []


def test_workers_change_nothing(images):
    alone, helped = training(images), training(images, workers=2)
    for epoch in (0, 1):
        assert same(list(alone.epoch(epoch)), list(helped.epoch(epoch)))
    assert same(list(alone.epoch(1, start=2)), list(helped.epoch(1, start=2)))


def test_an_epoch_that_is_left_early_leaves_nothing_behind(images):
    loader = training(images, workers=1)
    next(iter(loader.epoch(0)))
    assert same(list(loader.epoch(1)), list(training(images).epoch(1)))


@pytest.mark.parametrize(
    "make", [lambda labels: PKSampler(labels, 2, 2, 1), lambda labels: TripletSampler(labels, 2, 1)]
)
def test_the_ranks_parts_are_the_whole_batch(images, make):
    loaders = [
        TrainingLoader(images, make(images.labels), RETRIEVAL, seed=0, rank=rank, world=world)
        for rank, world in ((0, 1), (0, 2), (1, 2))
    ]
    for whole, first, second in zip(*(loader.epoch(1) for loader in loaders), strict=True):
        assert torch.equal(whole.images, torch.cat([first.images, second.images]))
        assert torch.equal(whole.labels, torch.cat([first.labels, second.labels]))


def test_a_batch_that_the_ranks_cannot_share(images):
    with pytest.raises(ConfigError, match="2 classes or tuples a batch cannot be shared out over 3"):
        training(images, rank=0, world=3)


def test_an_image_that_comes_up_twice_looks_different(images):
    one = images.take([0, 4])
    loader = TrainingLoader(one, PKSampler(one.labels, 2, 3, 0), RETRIEVAL, seed=0)
    (batch,) = loader.epoch(0)
    assert sorted(batch.indices.tolist()) == [0, 0, 0, 1, 1, 1]
    assert not torch.equal(batch.images[0], batch.images[1])


def test_loading_takes_nothing_from_the_global_random_stream(images):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(training(images).epoch(0))
    list(EvaluationLoader(images, SMALL))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_replaced_by_one_of_its_class_and_listed(images, workers):
    spoil(images, 1, 2, 7)
    loader = training(images, PLAIN, workers=workers, max_unreadable=3)
    healthy = {1: 3, 2: 3, 7: 4}
    for number, batch in enumerate(loader.epoch(0)):
        drawn = loader.sampler.batch(0, number)
        assert batch.labels.tolist() == [images.labels[index] for index in drawn]
        assert batch.indices.tolist() == [healthy.get(index, index) for index in drawn]
    assert set(loader.unreadable) == {str(images.paths[index]) for index in healthy}
    assert all("\n" not in reason for reason in loader.unreadable.values())


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_unreadable_images_stop_the_run(images, workers):
    spoil(images, 1, 5, 9)
    loader = training(images, workers=workers, max_unreadable=2)
    with pytest.raises(DataError, match=r"3 images cannot be read, more than the 2 allowed: .*1\.png.*;") as caught:
        list(loader.epoch(0))
    assert "\n" not in str(caught.value)


def test_a_class_without_a_readable_image_stops_the_run(images):
    spoil(images, 0, 1, 2, 3)
    with pytest.raises(DataError, match=r"a class has no image that can be read.*0\.png"):
        list(training(images, max_unreadable=9).epoch(0))


def test_evaluation_sees_every_image_once_as_the_embedder_does(images):
    for workers in (0, 1):
        loader = EvaluationLoader(images, SMALL, batch_size=7, workers=workers)
        for _ in range(2):
            batches = list(loader)
            assert [len(batch.indices) for batch in batches] == [7, 7, 2]
            assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(16))
            assert torch.cat([batch.labels for batch in batches]).tolist() == list(images.labels)
            every = torch.stack([preprocess(read_image(path), SMALL) for path in images.paths])
            assert torch.equal(torch.cat([batch.images for batch in batches]), every)


def test_evaluation_leaves_unreadable_images_out(images):
    spoil(images, 0, 1, 6)
    images.paths[15].unlink()
    loader = EvaluationLoader(images, SMALL, batch_size=2, max_unreadable=4)
    seen = torch.cat([batch.indices for batch in loader]).tolist()
    assert seen == [2, 3, 4, 5, *range(7, 15)]
    assert len(loader.unreadable) == 4
    with pytest.raises(DataError, match="4 images cannot be read, more than the 3 allowed"):
        list(EvaluationLoader(images, SMALL, max_unreadable=3))


def test_evaluation_of_nothing_readable(images):
    spoil(images, *range(16))
    with pytest.raises(DataError, match="none of the 16 images can be read"):
        list(EvaluationLoader(images, SMALL, max_unreadable=16))


@pytest.mark.realdata
def test_real_images_load_in_both_ways(shared_data):
    groceries = load_dataset("folder", shared_data / "grocery", "train", split_file="df.csv")
    birds = load_dataset("folder", shared_data / "cub200", "train", train_classes=100)
    cars = load_dataset("folder", shared_data / "cars196", "train", train_classes=98)
    people = load_dataset("market", shared_data / "pku_reid_market", "train", check_counts=False)
    for data, name in ((groceries, "retrieval"), (birds, "retrieval"), (cars, "none"), (people, "reid")):
        loader = TrainingLoader(data, PKSampler(data.labels, 4, 2, 0), Augment(name, SMALL), seed=0)
        batch = next(loader.epoch(0))
        assert batch.images.shape == (8, 3, 32, 32)
        assert len(set(batch.labels.tolist())) == 4
        assert batch.images.std() > 0.1
        assert sum(len(b.indices) for b in EvaluationLoader(data.take(range(0, len(data), 50)), SMALL)) > 5
