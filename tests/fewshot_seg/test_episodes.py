from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.datasets.pascal import CLASSES, PascalVoc
from fewshot_seg.episodes import (
    Episode,
    HsnetProtocol,
    hsnet_episodes,
    read_episodes,
    small_classes,
    write_episodes,
)
from fewshot_seg.errors import ConfigError, DataError, OutputError
from tests.fewshot_seg.voc_files import make_voc, sixteen


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PascalVoc:
    root = make_voc(tmp_path_factory.mktemp("voc"), sixteen() | {f"d_{n}": (3,) for n in range(3)} | {"e": (7,)})
    return PascalVoc(root, root / "list.txt")


def test_query_n_is_entry_n_mod_len(dataset: PascalVoc) -> None:
    entries = [entry for entry in dataset.entries if entry.label in (1, 2)]
    episodes = hsnet_episodes(dataset, (1, 2), 1, count=50)
    assert len(HsnetProtocol(dataset, (1, 2), 1)) == len(entries) == 20
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
    episode = HsnetProtocol(dataset, (1, 2), shot, way, seed).episode(index)
    images = [episode.query, *(image for shots in episode.supports.values() for image in shots)]
    assert len(images) == len(set(images)) == 1 + way * shot
    assert tuple(episode.supports) == episode.classes == tuple(sorted(episode.classes))
    assert dataset.labels(episode.query).intersection(episode.classes)
    for label, shots in episode.supports.items():
        assert all(label in dataset.labels(image) for image in shots)


def test_an_episode_does_not_depend_on_the_count_nor_on_the_others(dataset: PascalVoc) -> None:
    for way in (1, 2):
        many = hsnet_episodes(dataset, (1, 2), 2, way=way, count=40, seed=7)
        assert hsnet_episodes(dataset, (1, 2), 2, way=way, count=10, seed=7) == many[:10]
        assert HsnetProtocol(dataset, (2, 1), 2, way, seed=7).episode(33) == many[33]


def test_seeds_and_indices_draw_differently(dataset: PascalVoc) -> None:
    first = hsnet_episodes(dataset, (1, 2), 1, count=100, seed=0)
    other = hsnet_episodes(dataset, (1, 2), 1, count=100, seed=1)
    assert sum(a.supports != b.supports for a, b in zip(first, other, strict=True)) > 70
    same_query = [episode.supports[1] for episode in first if episode.query == "a_0"]
    assert len(set(same_query)) > 1


def test_the_draw_is_this_one_on_every_machine(dataset: PascalVoc) -> None:
    drawn = [episode.supports[1] for episode in hsnet_episodes(dataset, (1,), 2, count=3, seed=5)]
    assert drawn == [("c_0", "a_1"), ("c_3", "a_0"), ("a_0", "c_0")]


def test_every_other_image_is_drawn_about_equally_often(dataset: PascalVoc) -> None:
    protocol = HsnetProtocol(dataset, (1,), 1)
    drawn = Counter(protocol.episode(10 * n).supports[1][0] for n in range(2000))  # the query is a_0 each time
    assert set(drawn) == {f"a_{n}" for n in range(1, 6)} | {f"c_{n}" for n in range(4)}
    assert all(abs(count - 2000 / 9) < 70 for count in drawn.values())


def test_one_shot_is_the_first_of_five(dataset: PascalVoc) -> None:
    one = hsnet_episodes(dataset, (1, 2), 1, count=30)
    five = hsnet_episodes(dataset, (1, 2), 5, count=30)
    for a, b in zip(one, five, strict=True):
        label = a.classes[0]
        assert a.supports[label] == b.supports[label][:1]


def test_two_way_prefers_the_classes_that_the_query_holds(dataset: PascalVoc) -> None:
    episodes = hsnet_episodes(dataset, (1, 2, 3), 1, way=2, count=200)
    both = [episode for episode in episodes if episode.query.startswith("c_")]
    assert both
    assert all(episode.classes == (1, 2) for episode in both)
    alone = {episode.classes for episode in episodes if episode.query.startswith("a_")}
    assert alone == {(1, 2), (1, 3)}


def test_too_few_images_are_one_error_with_the_classes(dataset: PascalVoc) -> None:
    with pytest.raises(DataError, match=r"3-shot episodes need 4 images of each class; too few of bird \(3\);"):
        HsnetProtocol(dataset, (1, 2, 3), 3)
    with pytest.raises(DataError, match=r"too few of boat \(0\), car \(1\)"):
        HsnetProtocol(dataset, (1, 4, 7), 1)
    assert small_classes(dataset, range(1, 9), 2) == {4: 0, 5: 0, 6: 0, 7: 1, 8: 0}


def test_classes_that_share_their_images_may_leave_too_few(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {f"c_{n}": (1, 2) for n in range(4)})
    protocol = HsnetProtocol(PascalVoc(root, root / "list.txt"), (1, 2), shot=2, way=2)
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
        HsnetProtocol(dataset, classes, shot, way, seed)
    with pytest.raises(ConfigError, match="episodes 0"):
        hsnet_episodes(dataset, (1, 2), 1, count=0)


def test_episodes_are_written_and_read(dataset: PascalVoc, tmp_path: Path) -> None:
    episodes = hsnet_episodes(dataset, (1, 2, 3), 2, way=2, count=25, seed=3)
    path = tmp_path / "episodes.jsonl"
    write_episodes(path, episodes, CLASSES)
    assert read_episodes(path, CLASSES) == episodes
    assert [entry.name for entry in tmp_path.iterdir()] == ["episodes.jsonl"]
    line = json.loads(path.read_text().splitlines()[0])
    assert list(line) == ["index", "query", "supports"]
    assert set(line["supports"]) <= {"aeroplane", "bicycle", "bird"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a line of JSON"),
        ("[]", "not of the form"),
        ('{"index": 0, "query": "a"}', "not of the form"),
        ('{"index": 0, "query": 3, "supports": {"cat": ["b"]}}', "not of the form"),
        ('{"index": 0, "query": "a", "supports": {"lion": ["b"]}}', "unknown class 'lion'"),
        ('{"index": 0, "query": "a", "supports": {"cat": []}}', "a class without supports"),
    ],
)
def test_a_bad_episode_is_named_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "episodes.jsonl"
    write_episodes(path, [Episode(0, "q", (8,), {8: ("s",)})], CLASSES)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=rf"episodes\.jsonl:2: {message}"):
        read_episodes(path, CLASSES)


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the episodes"):
        read_episodes(tmp_path / "none.jsonl", CLASSES)
    with pytest.raises(OutputError):
        write_episodes(tmp_path / "none" / "episodes.jsonl", [], CLASSES)
