"""Parts of a matcher's training: classes, views, draws, losses, rates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewshot_seg.datasets import VOID
from fewshot_seg.datasets.pascal import CLASSES
from fewshot_seg.errors import ConfigError, DataError
from tests.train_embed.matcher.tiny import options
from train_embed.matcher.draws import EpisodeSource, Shares
from train_embed.matcher.gallery import Gallery, fold_names
from train_embed.matcher.losses import any_object, kinds_loss, map_loss, one_class, without
from train_embed.matcher.options import Source, parse_sources
from train_embed.matcher.states import cycle_at, set_cycle
from train_embed.matcher.views import look, shrink, window


def test_sources_are_parsed_and_wrong_ones_named() -> None:
    found = parse_sources(["voc=a=b", "masks=c"])
    assert found == (Source("pascal5i", Path("a=b")), Source("masks", Path("c")))
    for wrong in ("voc", "voc=", "vok=a", "=a"):
        with pytest.raises(ConfigError, match="KIND=DIR"):
            parse_sources([wrong])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ()}, "nothing to learn from"),
        ({"hold_out": 4}, "folds 0 to 3"),
        ({"steps": 0}, "--steps"),
        ({"batch": 1}, "--batch"),
        ({"rate": 0.0}, "--rate"),
        ({"absent": 1.5}, "--absent is a share"),
        ({"unfamiliar": -0.1}, "--unfamiliar is a share"),
    ],
)
def test_impossible_options(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(tmp_path, **changes)


def test_classes_of_two_data_sets_have_one_name_each(material: Path) -> None:
    gallery = Gallery(options(material).sources)
    assert gallery.names[:20] == CLASSES
    assert gallery.names[20:] == ("kite",)  # couch is sofa, airplane is aeroplane
    assert gallery.counts() == {"pascal5i": 11, "masks": 8}
    coco = [number for number, one in enumerate(gallery.pictures) if one.source == 1]
    found = [set(np.unique(gallery.labels(number)).tolist()) - {0} for number in coco]
    assert found == [{7}, {7}, {18}, {18}, {21}, {21}, {1}, {1}]
    assert VOID in gallery.labels(0)
    assert gallery.numbers(fold_names(0)) == {1, 2, 3, 4, 5}
    assert fold_names(3)[-1] == "tvmonitor"
    assert fold_names(None) == ()


def test_the_same_kind_twice_is_counted_apart(material: Path) -> None:
    sources = options(material).sources
    assert Gallery([*sources, sources[0]]).counts() == {"pascal5i": 11, "masks": 8, "pascal5i (2)": 11}


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 10**6), st.integers(0, 9))
def test_windows_lie_inside_the_image(height: int, width: int, number: int, view: int) -> None:
    at = window(number, view, (height, width))
    assert at == window(number, view, (height, width))
    assert 1 <= at.height <= height - at.top
    assert 1 <= at.width <= width - at.left
    assert min(at.top, at.left) >= 0
    if view < 2:
        assert at == (0, 0, height, width, view == 1)


def test_half_of_the_parts_are_mirrored() -> None:
    share = np.mean([window(number, 2, (100, 100)).mirrored for number in range(400)])
    assert 0.4 < share < 0.6


def test_image_and_labels_are_seen_alike() -> None:
    labels = np.arange(24, dtype=np.int16).reshape(4, 6)
    image = np.repeat(labels[..., None], 3, 2).astype(np.uint8)
    for view in range(6):
        at = window(3, view, (4, 6))
        assert (look(image, at)[..., 0] == look(labels, at)).all()
    assert (look(labels, window(0, 1, (4, 6))) == labels[:, ::-1]).all()
    assert (shrink(labels, (2, 3)) == labels[::2, ::2]).all()


def areas_of(rng: np.random.Generator, images: int = 30, views: int = 3, classes: int = 6) -> np.ndarray:
    there = rng.random((images, classes)) < 0.4
    return np.repeat(there, views, 0) * rng.uniform(0.02, 0.5, (images * views, classes)).astype(np.float32)


def test_draws_are_pure_and_as_they_say() -> None:
    areas = areas_of(np.random.default_rng(0))
    images = np.arange(len(areas)) // 3
    source = EpisodeSource(areas, images, {2})
    kinds = set()
    for step in range(60):
        draws = source.draw(5, step, 8)
        again = source.draw(5, step, 8)
        assert all(np.array_equal(a, b) for a, b in zip(draws, again, strict=True))
        kinds.add(draws.shots.shape)
        for query, shots, label, absent in zip(draws.queries, draws.shots, draws.classes, draws.absent, strict=True):
            used = [images[query], *images[shots]]
            assert len(set(used)) == len(used)
            assert label != 2
            assert (areas[shots, label - 1] > 0).all()
            assert (areas[query, label - 1] == 0) == absent
    assert kinds == {(8, 1), (4, 3)}
    every = [source.draw(5, step, 8) for step in range(60)]
    assert 0.05 < np.mean(np.concatenate([draws.absent for draws in every])) < 0.25
    assert 0.1 < np.mean([draws.masked for draws in every]) < 0.45
    assert not np.array_equal(source.draw(6, 0, 8).queries, source.draw(5, 0, 8).queries)


def test_no_absent_query_shows_what_is_held_out() -> None:
    areas = areas_of(np.random.default_rng(1))
    source = EpisodeSource(areas, np.arange(len(areas)) // 3, {2, 5}, Shares(absent=1.0))
    draws = [source.draw(0, step, 8) for step in range(40)]
    absent = np.concatenate([one.queries[one.absent] for one in draws])
    assert len(absent) > 100
    assert not areas[absent][:, [1, 4]].any(), "or it would be learnt that these are never there"


def test_images_that_all_show_what_is_held_out_teach_no_absence() -> None:
    areas = np.tile(np.array([[0.5, 0.1]], np.float32), (3, 1))
    with pytest.raises(DataError, match="absence"):
        EpisodeSource(areas, np.arange(3), {2}, Shares(absent=0.5))
    assert not EpisodeSource(areas, np.arange(3), {2}, Shares(absent=0.0)).draw(0, 0, 4).absent.any()


def test_a_class_that_every_view_shows_is_never_absent() -> None:
    source = EpisodeSource(np.full((6, 1), 0.5, np.float32), np.arange(6), ())
    assert not any(source.draw(0, step, 4).absent.any() for step in range(20))


def test_shares_are_kept() -> None:
    areas = areas_of(np.random.default_rng(1))
    for share in (0.0, 1.0):
        source = EpisodeSource(areas, np.arange(len(areas)) // 3, (), Shares(share, share, share))
        for step in range(10):
            draws = source.draw(0, step, 8)
            assert (draws.absent.mean(), draws.masked, draws.shots.shape[1] == 3) == (share, share, share)


def test_nothing_to_learn_is_an_error() -> None:
    areas = np.eye(3, dtype=np.float32)  # each class in one image alone
    with pytest.raises(DataError, match="no class to learn from"):
        EpisodeSource(areas, np.arange(3), ())


def test_the_loss_is_that_of_a_slow_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[[1, 1], [0, VOID]], [[2, 0], [0, 0]], [[0, 0], [VOID, 0]]])
    classes = torch.tensor([1, 2, 1])
    slow = []
    for own, truth, label in zip(logits, labels, classes, strict=True):
        entropy, both, either, count, there = 0.0, 0.0, 0.0, 0, 0
        for value, one in zip(own.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if one == VOID:
                continue
            p, t = 1 / (1 + math.exp(-value)), float(one == label)
            entropy -= math.log(p if t else 1 - p)
            both, either, count, there = both + p * t, either + p + t - p * t, count + 1, there + int(t)
        slow.append(entropy / (count + 1e-3) + (0.5 * (1 - both / (either + 1e-3)) if there > 1 else 0.0))
    target, counts = one_class(labels, classes)
    assert map_loss(logits, target.double(), counts.double()).item() == pytest.approx(np.mean(slow), abs=1e-6)
    use = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    weighted = map_loss(logits, target.double(), counts.double(), use).item()
    assert weighted == pytest.approx((slow[0] + slow[2]) / 2, abs=1e-5)


def test_void_takes_no_gradient_and_all_classes_are_objects() -> None:
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    labels = torch.tensor([[[VOID, 3], [0, 7]]])
    target, counts = any_object(labels)
    assert target.tolist() == [[[0, 1], [0, 1]]]
    map_loss(logits, target, counts).backward()
    assert logits.grad is not None
    assert ((logits.grad == 0) == (labels == VOID)).all()


@pytest.mark.parametrize("steps", [11, 60, 600])
def test_rates_are_those_of_torch(steps: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.AdamW([weight], lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 3e-3, total_steps=steps, pct_start=0.1)
    ours = torch.optim.AdamW([weight], lr=1e-3)
    for step in range(steps):
        set_cycle(ours, cycle_at(step, steps, 3e-3))
        for name in ("lr", "betas"):
            assert ours.param_groups[0][name] == pytest.approx(theirs.param_groups[0][name], rel=1e-9)
        theirs.step()
        if step + 1 < steps:
            schedule.step()


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_short_trainings_have_rates_too(steps: int) -> None:
    assert all(0 < cycle_at(step, steps, 1e-3).rate <= 1e-3 for step in range(steps))


def test_kinds_cost_what_a_loop_says() -> None:
    made = torch.Generator().manual_seed(0)
    kinds = torch.softmax(torch.randn(2, 4, 3, 5, generator=made, dtype=torch.float64), 1)[:, 1:]
    labels = torch.randint(-1, 4, (2, 6, 10), generator=made)
    assert VOID in labels
    costs = []
    for b in range(2):
        for y in range(3):
            for x in range(5):
                label = int(labels[b, 2 * y + 1, 2 * x + 1])
                chance = 1 - kinds[b, :, y, x].sum() if label == 0 else kinds[b, label - 1, y, x]
                costs += [] if label == VOID else [-math.log(float(chance))]
    assert kinds_loss(kinds, labels).item() == pytest.approx(sum(costs) / len(costs))
    assert kinds_loss(kinds, torch.full_like(labels, VOID)).item() == 0


def test_a_kind_is_left_out_where_it_is_named() -> None:
    kinds = torch.full((3, 4, 2, 2), 0.2)
    left = without(kinds, torch.tensor([0, 1, 4]))
    assert torch.equal(left[0], kinds[0])
    assert not left[1, 0].any()
    assert not left[2, 3].any()
    assert left.sum((1, 2, 3)).tolist() == pytest.approx([3.2, 2.4, 2.4])
    assert without(kinds[:, :0], torch.tensor([0, 1, 4])).shape == (3, 0, 2, 2)
