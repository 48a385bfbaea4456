"""Protocols: whose episodes they are, what is drawn and what is fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.datasets import Entry
from fewshot_seg.datasets.folder import ClassFolders
from fewshot_seg.datasets.masks import ImagesAndMasks
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols import (
    PROTOCOLS,
    Hsnet,
    Native,
    Panet,
    Pfenet,
    build_protocol,
    draw_episodes,
)
from fewshot_seg.episodes.protocols.base import draw, passing_over, small_classes
from fewshot_seg.errors import ConfigError, DataError
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen
from tests.fewshot_seg.imaging.mask_files import make_class_folders, make_coco, make_images_and_masks


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PascalVoc:
    root = make_voc(tmp_path_factory.mktemp("voc"), sixteen() | {f"d_{n}": (3,) for n in range(3)} | {"e": (7,)})
    return PascalVoc(root, root / "list.txt")


def hsnet(
    dataset: PascalVoc, classes: Iterable[int], shot: int, *, way: int = 1, count: int, seed: int = 0
) -> list[Episode]:
    return draw_episodes(Hsnet(dataset, classes, shot, way, seed), count)


# HSNet's


def test_query_n_is_entry_n_mod_len(dataset: PascalVoc) -> None:
    entries = [entry for entry in dataset.entries if entry.label in (1, 2)]
    episodes = hsnet(dataset, (1, 2), 1, count=50)
    assert len(entries) == 20
    assert len(Hsnet(dataset, (1, 2), 1)) == 1000
    for index, episode in enumerate(episodes):
        entry = entries[index % 20]
        assert (episode.index, episode.query, episode.classes) == (index, entry.image, (entry.label,))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    index=st.integers(0, 10**6),
    shot=st.integers(1, 4),
    way=st.integers(1, 2),
)
def test_supports_hold_their_class_and_no_image_stands_in_an_episode_twice(
    dataset: PascalVoc, seed: int, index: int, shot: int, way: int
) -> None:
    episode = Hsnet(dataset, (1, 2), shot, way, seed).episode(index)
    images = [episode.query, *(image for shots in episode.supports.values() for image in shots)]
    assert len(images) == len(set(images)) == 1 + way * shot
    assert tuple(episode.supports) == episode.classes == tuple(sorted(episode.classes))
    assert dataset.labels(episode.query).intersection(episode.classes)
    for label, shots in episode.supports.items():
        assert all(label in dataset.labels(image) for image in shots)


def test_an_episode_does_not_depend_on_the_count_nor_on_the_others(dataset: PascalVoc) -> None:
    for way in (1, 2):
        many = hsnet(dataset, (1, 2), 2, way=way, count=40, seed=7)
        assert hsnet(dataset, (1, 2), 2, way=way, count=10, seed=7) == many[:10]
        assert Hsnet(dataset, (2, 1), 2, way, seed=7).episode(33) == many[33]


def test_seeds_and_indices_draw_differently(dataset: PascalVoc) -> None:
    first = hsnet(dataset, (1, 2), 1, count=100, seed=0)
    other = hsnet(dataset, (1, 2), 1, count=100, seed=1)
    assert sum(a.supports != b.supports for a, b in zip(first, other, strict=True)) > 70
    same_query = [episode.supports[1] for episode in first if episode.query == "a_0"]
    assert len(set(same_query)) > 1


def test_the_draw_is_this_one_on_every_machine(dataset: PascalVoc) -> None:
    drawn = [episode.supports[1] for episode in hsnet(dataset, (1,), 2, count=3, seed=5)]
    assert drawn == [("c_0", "a_1"), ("c_3", "a_0"), ("a_0", "c_0")]


def test_every_other_image_is_drawn_about_equally_often(dataset: PascalVoc) -> None:
    protocol = Hsnet(dataset, (1,), 1)
    drawn = Counter(protocol.episode(10 * n).supports[1][0] for n in range(2000))  # the query is a_0 each time
    assert set(drawn) == {f"a_{n}" for n in range(1, 6)} | {f"c_{n}" for n in range(4)}
    assert all(abs(count - 2000 / 9) < 70 for count in drawn.values())


def test_one_shot_is_the_first_of_five(dataset: PascalVoc) -> None:
    one = hsnet(dataset, (1, 2), 1, count=30)
    five = hsnet(dataset, (1, 2), 5, count=30)
    for a, b in zip(one, five, strict=True):
        label = a.classes[0]
        assert a.supports[label] == b.supports[label][:1]


def test_two_way_prefers_the_classes_that_the_query_holds(dataset: PascalVoc) -> None:
    episodes = hsnet(dataset, (1, 2, 3), 1, way=2, count=200)
    both = [episode for episode in episodes if episode.query.startswith("c_")]
    assert both
    assert all(episode.classes == (1, 2) for episode in both)
    alone = {episode.classes for episode in episodes if episode.query.startswith("a_")}
    assert alone == {(1, 2), (1, 3)}


def test_too_few_images_are_one_error_with_the_classes(dataset: PascalVoc) -> None:
    with pytest.raises(DataError, match=r"3-shot episodes need 4 images of each class; too few of bird \(3\);"):
        Hsnet(dataset, (1, 2, 3), 3)
    with pytest.raises(DataError, match=r"too few of boat \(0\), car \(1\)"):
        Hsnet(dataset, (1, 4, 7), 1)
    assert small_classes(dataset, range(1, 9), 2) == {4: 0, 5: 0, 6: 0, 7: 1, 8: 0}


def test_classes_that_share_their_images_may_leave_too_few(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {f"c_{n}": (1, 2) for n in range(4)})
    protocol = Hsnet(PascalVoc(root, root / "list.txt"), (1, 2), shot=2, way=2)
    with pytest.raises(DataError, match="episode 0: 1 images of 'bicycle' are left for 2 supports"):
        protocol.episode(0)


@pytest.mark.parametrize(
    ("classes", "shot", "way", "seed", "message"),
    [
        ((1, 2), 0, 1, 0, "shot 0"),
        ((1, 2), 1, 3, 0, "way 3"),
        ((1, 2), 1, 0, 0, "way 0"),
        ((), 1, 1, 0, "classes"),
        ((0, 1), 1, 1, 0, "numbers from 1 to 20"),
        ((1, 21), 1, 1, 0, "numbers from 1 to 20"),
        ((1, 2), 1, 1, -1, "seed -1"),
        ((1, 2), 1, 1, 2**63, "seed"),
    ],
)
def test_impossible_numbers(
    dataset: PascalVoc, classes: tuple[int, ...], shot: int, way: int, seed: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Hsnet(dataset, classes, shot, way, seed)
    with pytest.raises(ConfigError, match="episodes 0"):
        hsnet(dataset, (1, 2), 1, count=0)


# All of them


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(PROTOCOLS)),
    seed=st.integers(0, 2**63 - 1),
    index=st.integers(0, 10**6),
    shot=st.integers(1, 4),
    way=st.integers(1, 2),
)
def test_every_protocol_keeps_the_rules(
    dataset: PascalVoc, name: str, seed: int, index: int, shot: int, way: int
) -> None:
    protocol = build_protocol(name, dataset, (1, 2), shot, way, seed)
    episode = protocol.episode(index)
    images = [episode.query, *(image for shots in episode.supports.values() for image in shots)]
    assert len(images) == len(set(images)) == 1 + way * shot
    assert tuple(episode.supports) == episode.classes == tuple(sorted(set(episode.classes)))
    assert dataset.labels(episode.query).intersection(episode.classes)
    assert all(label in dataset.labels(image) for label, shots in episode.supports.items() for image in shots)
    assert build_protocol(name, dataset, (2, 1), shot, way, seed).episode(index) == episode


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_one_shot_is_the_first_of_five_in_every_protocol(dataset: PascalVoc, name: str) -> None:
    one, five = (draw_episodes(build_protocol(name, dataset, (1, 2), shot), 40) for shot in (1, 5))
    assert [(a.query, a.classes, a.supports[a.classes[0]]) for a in one] == [
        (b.query, b.classes, b.supports[b.classes[0]][:1]) for b in five
    ]


def test_their_numbers_and_seeds_are_those_of_the_original_code(dataset: PascalVoc) -> None:
    built = {name: build_protocol(name, dataset, (1, 2), 1) for name in PROTOCOLS}
    assert {name: (len(one), one.seed) for name, one in built.items()} == {
        "hsnet": (1000, 0),
        "pfenet": (5000, 321),
        "panet": (5000, 1234),
        "native": (20 * 9, 0),
    }
    assert (built["panet"].runs, built["panet"].scoring_size) == (5, (417, 417))
    assert {(one.runs, one.scoring_size) for name, one in built.items() if name != "panet"} == {(1, None)}
    assert build_protocol("pfenet", dataset, (1, 2), 1, seed=7).seed == 7
    with pytest.raises(ConfigError, match="unknown protocol 'best': choose hsnet, pfenet, panet, native"):
        build_protocol("best", dataset, (1, 2), 1)


def test_too_few_images_are_refused_by_all(dataset: PascalVoc) -> None:
    for name in PROTOCOLS:
        with pytest.raises(DataError, match=r"4-shot episodes need 5 images of each class; too few of bird \(3\)"):
            build_protocol(name, dataset, (1, 2, 3), 4)


def test_hsnet_s_coco_episodes_draw_the_class_and_folders_use_each_image_once(tmp_path: Path) -> None:
    many = {f"many{n}": ("cat",) for n in range(12)} | {f"few{n}": ("dog",) for n in range(3)}
    coco = make_coco(tmp_path / "coco", ("cat", "dog"), many)
    drawn = Counter(one.classes for one in draw_episodes(Hsnet(coco, (1, 2), 1), 600))
    assert abs(drawn[1,] - 300) < 70
    assert len(Hsnet(coco, (1, 2), 1)) == 1000
    assert len(Pfenet(coco, (1, 2), 1)) == 20_000
    folders = ClassFolders(make_class_folders(tmp_path / "fss", {"cat": 4, "dog": 3}))
    episodes = draw_episodes(Hsnet(folders, (1, 2), 2))
    assert [one.query for one in episodes] == [entry.image for entry in folders.entries]


# PFENet's


def test_pfenet_takes_image_n_and_draws_its_class(dataset: PascalVoc) -> None:
    images = list(dict.fromkeys(entry.image for entry in dataset.entries if entry.label in (1, 2)))
    episodes = draw_episodes(Pfenet(dataset, (1, 2), 1), 320)
    assert len(images) == 16
    assert [one.query for one in episodes] == images * 20
    both = Counter(one.classes for one in episodes if one.query.startswith("c_"))
    assert min(both[1,], both[2,]) > 25
    assert {one.classes for one in episodes if one.query.startswith("a_")} == {(1,)}


# PANet's


def test_panet_draws_everything(dataset: PascalVoc) -> None:
    episodes = draw_episodes(Panet(dataset, (1, 2, 3), 1, way=2), 900)
    classes = Counter(one.classes for one in episodes)
    assert set(classes) == {(1, 2), (1, 3), (2, 3)}
    assert max(classes.values()) - min(classes.values()) < 120
    lacking = [one for one in episodes if not dataset.labels(one.query) >= set(one.classes)]
    assert len(lacking) > 600  # the query need not hold the other class
    sources = Counter(one.query[0] for one in episodes if one.classes == (1, 3))
    assert 0.35 < sources["d"] / sources.total() < 0.65


# All pairs


def test_native_uses_every_query_and_support_equally_and_all_pairs(dataset: PascalVoc) -> None:
    protocol = Native(dataset, (1, 2), 1)
    episodes = draw_episodes(protocol)
    assert len(episodes) == 20 * 9
    pairs = Counter((one.classes, one.query, one.supports[one.classes[0]][0]) for one in episodes)
    assert set(pairs.values()) == {1}
    assert len(pairs) == 2 * 10 * 9
    for turn in range(9):
        part = episodes[20 * turn : 20 * turn + 20]
        assert [(one.query, one.classes[0]) for one in part] == [(e.image, e.label) for e in dataset.entries[:20]]
        supports = Counter((one.classes, one.supports[one.classes[0]]) for one in part)
        assert set(supports.values()) == {1}


def test_native_shots_and_small_classes(dataset: PascalVoc) -> None:
    episodes = draw_episodes(Native(dataset, (1, 3), 2))
    own = [one for one in episodes if one.classes == (1,)]
    uses = Counter((one.query, image) for one in own for image in one.supports[1])
    assert set(uses.values()) == {2}  # K times each
    small = Counter(one.query for one in episodes if one.classes == (3,))
    assert set(small.values()) == {9}  # as often as any other query
    assert Native(dataset, (1,), 1, seed=1).episode(0) != Native(dataset, (1,), 1, seed=2).episode(0)


def test_all_pairs_of_a_long_list_must_be_asked_for(tmp_path: Path) -> None:
    root = make_images_and_masks(tmp_path, ["cat"], {"a": (1,)})
    (root / "classes.json").write_text('["cat"]')
    protocol = Native(LongList(root), (1,), 1)
    with pytest.raises(ConfigError, match=r"protocol 'native' has 3998000 episodes here; say how many \(--episodes\)"):
        draw_episodes(protocol)
    assert len(draw_episodes(protocol, 3)) == 3


class LongList(ImagesAndMasks):
    """2,000 entries, of which only the first has files."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.entries = tuple(Entry(f"i{n}", 1) for n in range(2000))


def test_native_two_way_prefers_the_classes_that_the_query_holds_and_takes_turns(dataset: PascalVoc) -> None:
    episodes = draw_episodes(Native(dataset, (1, 2, 3), 1, way=2))
    assert {one.classes for one in episodes if one.query.startswith("c_")} == {(1, 2)}
    alone = Counter(one.classes for one in episodes if one.query.startswith("a_"))
    assert set(alone) == {(1, 2), (1, 3)}
    assert abs(alone[1, 2] - alone[1, 3]) <= 6


# The drawing


@given(st.integers(0, 30), st.sets(st.integers(0, 29)))
def test_a_sequence_without_some_places(length: int, skipped: set[int]) -> None:
    items = [f"i{n}" for n in range(length)]
    inside = {place for place in skipped if place < length}
    expected = [item for place, item in enumerate(items) if place not in inside]
    assert [items[passing_over(place, sorted(inside))] for place in range(len(expected))] == expected


@given(st.integers(0, 40), st.integers(0, 2**63 - 1), st.integers(0, 1000))
def test_drawing_is_shuffling_and_fewer_are_the_first_of_more(length: int, seed: int, index: int) -> None:
    bits = np.random.Philox(key=index << 64 | seed, counter=3 << 128).random_raw(max(length, 1)).tolist()
    shuffled = list(range(length))
    for place in range(length):
        other = place + bits[place] % (length - place)
        shuffled[place], shuffled[other] = shuffled[other], shuffled[place]
    assert draw(range(length), None, seed, index, stream=3) == shuffled
    assert draw(range(length), length // 2, seed, index, stream=3) == shuffled[: length // 2]
