from __future__ import annotations

import json
from pathlib import Path

import pytest

from fewshot_seg.datasets.pascal import CLASSES, PascalVoc
from fewshot_seg.episodes.episode import Episode, read_episode_list, read_episodes, write_episodes
from fewshot_seg.episodes.protocols import Hsnet, draw_episodes
from fewshot_seg.errors import DataError, OutputError
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PascalVoc:
    root = make_voc(tmp_path_factory.mktemp("voc"), sixteen() | {f"d_{n}": (3,) for n in range(3)} | {"e": (7,)})
    return PascalVoc(root, root / "list.txt")


def test_episodes_are_written_and_read(dataset: PascalVoc, tmp_path: Path) -> None:
    episodes = draw_episodes(Hsnet(dataset, (1, 2, 3), 2, 2, seed=3), 25)
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
        ('{"index": "x", "query": "a", "supports": {"cat": ["b"]}}', "not of the form"),
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


# Anyone's list


def test_a_list_of_ours_is_replayed(dataset: PascalVoc, tmp_path: Path) -> None:
    episodes = draw_episodes(Hsnet(dataset, (1, 2, 3), 2, 2, seed=3), 25)
    write_episodes(tmp_path / "e.jsonl", episodes, CLASSES)
    assert read_episode_list(tmp_path / "e.jsonl", dataset) == episodes
    half = (tmp_path / "e.jsonl").read_text().splitlines(keepends=True)[20:]
    (tmp_path / "e.jsonl").write_text("".join(half))
    assert [one.index for one in read_episode_list(tmp_path / "e.jsonl", dataset)] == [0, 1, 2, 3, 4]


def test_the_plain_form(dataset: PascalVoc, tmp_path: Path) -> None:
    lines = ["# mine", "", "c_0 | 1 a_0 a_0 | bicycle b_1", ' {"query": "a_1", "supports": {"bird": ["d_1"]}}']
    (tmp_path / "e.txt").write_text("\n".join(lines) + "\n")
    assert read_episode_list(tmp_path / "e.txt", dataset) == [
        Episode(0, "c_0", (1, 2), {1: ("a_0", "a_0"), 2: ("b_1",)}),  # HSNet's code may draw a support twice
        Episode(1, "a_1", (3,), {3: ("d_1",)}),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c_0 1 a_0", r"e\.txt:2: 'c_0 1 a_0' is not of the form QUERY \| CLASS SUPPORT"),
        ("c_0 | 1", "is not of the form"),
        ("c_0 | 1 a_0 |", "is not of the form"),
        ("| 1 a_0", "is not of the form"),
        ("c_0 | 21 a_0", r"e\.txt:2: unknown class '21'"),
        ("c_0 | lion a_0", "unknown class 'lion'"),
        ("c_0 | 1 a_0 | aeroplane a_1", "a class stands there twice"),
        ("c_9 | 1 a_0", r"e\.txt:2: image 'c_9' is not in the data set, or not in the split list"),
        ("c_0 | 1 a_9", "image 'a_9' is not in the data set"),
        ("c_0 | 1 a_0 c_0", "the query 'c_0' is one of its own supports"),
        ("{", "not a line of JSON"),
    ],
)
def test_a_bad_line_of_a_list(dataset: PascalVoc, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "e.txt").write_text(f"c_0 | 1 a_0\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_episode_list(tmp_path / "e.txt", dataset)


def test_an_empty_list(dataset: PascalVoc, tmp_path: Path) -> None:
    (tmp_path / "e.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match=r"e\.txt: the file has no episodes"):
        read_episode_list(tmp_path / "e.txt", dataset)
