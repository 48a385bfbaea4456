"""`fewshot-seg index` and `fewshot-seg search`, as they are typed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

import fewshot_seg as fs
from fewshot_seg.commands.indexes import read_inputs
from tests.fewshot_seg.command_line import error_line, fewshot

SUBCOMMANDS = ("build", "add", "remove", "update", "rebuild", "info", "duplicates")


@pytest.fixture
def own(pictures: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `photos` and `own.safetensors`."""
    shutil.copytree(pictures, tmp_path / "photos")
    shutil.copy(checkpoint, tmp_path / "own.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def built(own: Path) -> Path:
    fs.Index.build("photos", "./own.safetensors", "index")
    return own


def printed(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_subcommand_has_help_with_an_example(command: str) -> None:
    result = fewshot("index", command, "--help")
    assert result.exit_code == 0
    assert f"fewshot-seg index {command}" in result.stdout.split("Examples")[1]


def test_from_photos_to_hits(own: Path) -> None:
    (own / "photos" / "bad.jpg").write_bytes(b"no image")
    result = fewshot("index", "build", "index", "photos", "--weights", "own.safetensors", "--batch-size", "4")
    assert result.exit_code == 1
    assert "photos/bad.jpg: not an image" in result.stderr
    assert "11 images (11 added); 1 left out" in result.stdout
    found = printed(fewshot("search", "index", "photos/cup/1.jpg", "photos/face.jpg", "-k", "3", "--json"))
    assert [list(entry) for entry in found] == [["query", "hits"]] * 2
    assert [entry["query"] for entry in found] == ["photos/cup/1.jpg", "photos/face.jpg"]
    for entry in found:
        assert len(entry["hits"]) == 3
        assert all(set(hit) == {"path", "score"} for hit in entry["hits"])
        assert entry["hits"][0] == {"path": entry["query"], "score": pytest.approx(1, abs=1e-4)}
        assert entry["hits"] == sorted(entry["hits"], key=lambda hit: -hit["score"])


def test_add_remove_update_rebuild_info(built: Path) -> None:
    shutil.copy("photos/face.jpg", "more.jpg")
    assert "12 images (1 added)" in fewshot("index", "add", "index", "more.jpg").stdout
    assert "7 images (5 removed)" in fewshot("index", "remove", "index", "photos/cat").stdout
    result = fewshot("index", "remove", "index", "photos/dog", "more.jpg")
    assert (result.exit_code, "6 images (1 removed); 1 left out" in result.stdout) == (1, True)
    assert "photos/dog: the index has no such image" in result.stderr
    Path("photos/cup/0.jpg").unlink()
    assert "5 images (1 removed, 5 unchanged)" in fewshot("index", "update", "index").stdout
    info = printed(fewshot("index", "info", "index", "--json", "--verify"))
    assert (info["images"], info["dim"], info["removed_rows"], info["complete"]) == (5, 1280, 7, True)
    assert info["embedder"]["source"] == str(built / "own.safetensors")
    assert "5 images" in fewshot("index", "rebuild", "index").stdout
    text = fewshot("index", "info", "index").stdout
    assert "removed rows  0" in text
    assert "sources       photos" in text


def test_columns_of_a_table_come_back_with_the_hits(own: Path) -> None:
    (own / "lists").mkdir()
    shutil.copy("photos/face.jpg", "lists/near.jpg")
    (own / "lists" / "all.csv").write_text("path,id,camera\nnear.jpg,7,c1\nphotos/cat/0.jpg,8,c2\ngone.jpg,9,c3\n")
    result = fewshot("index", "build", "index", "--csv", "lists/all.csv", "-w", "own.safetensors")
    assert result.exit_code == 1
    assert "lists/gone.jpg: no such file" in result.stderr
    options = ("-k", "1", "--csv", "hits.csv", "--json")
    hit = printed(fewshot("search", "index", "photos/cat/0.jpg", *options))[0]["hits"][0]
    assert (hit["path"], hit["id"], hit["camera"]) == ("photos/cat/0.jpg", "8", "c2")
    with open("hits.csv", newline="") as file:  # noqa: PTH123
        row = next(csv.DictReader(file))
    assert (row["rank"], row["path"], row["id"], float(row["score"]) > 0.999) == ("1", "photos/cat/0.jpg", "8", True)
    assert "near.jpg" in fewshot("search", "index", "photos/face.jpg", "-k", "1").stdout


def test_lists_and_tables_that_cannot_be(own: Path) -> None:
    Path("list.txt").write_bytes(b"photos/face.jpg\r\n\nphotos/cat\n")
    assert read_inputs(["x.jpg"], "list.txt", None).paths == ["x.jpg", "photos/face.jpg", "photos/cat"]
    Path("empty.txt").touch()
    Path("head.csv").write_text("path,id\n")
    for arguments, message in (
        ((), "no images were given"),
        (("--list", "empty.txt"), "lists no images"),
        (("--list", "nowhere.txt"), "nowhere.txt: cannot be read"),
        (("--csv", "head.csv"), "lists no images"),
        (("--csv", "list.txt"), "has no column 'path'"),
        (("photos", "--csv", "head.csv"), "give it alone"),
        (("nowhere",), "no such file or folder"),
        (("photos", "-w", "nowhere.safetensors"), "no such checkpoint"),
    ):
        assert message in error_line(fewshot("index", "build", "index", *arguments))
        assert not Path("index").exists()


def test_failures_are_one_line(built: Path) -> None:
    other = fewshot("index", "build", "index", "photos/cat", "-w", "own.safetensors")
    assert "holds an index already, with 6 other images" in error_line(other)
    assert "is no index" in error_line(fewshot("search", "photos", "photos/face.jpg"))
    box = ("--box", "1,1,5,5")
    assert "a part of one QUERY" in error_line(fewshot("search", "index", "photos/cat", *box))
    assert "four numbers" in error_line(fewshot("search", "index", "photos/face.jpg", "--box", "1,1,5"))
    assert "ends in" in error_line(fewshot("search", "index", "photos/face.jpg", "--sheet", "s.gif"))
    assert "would overwrite" in error_line(fewshot("search", "index", "photos/face.jpg", "--sheet", "photos/face.jpg"))
    assert "no such file" in error_line(fewshot("search", "index", "photos/face.jpg", "--not", "nowhere.jpg"))
    assert "another backbone" in error_line(fewshot("search", "index", "photos/face.jpg", "-w", "lite0"))
    file = next((built / "index").glob("vectors-*.f32"))
    file.write_bytes(file.read_bytes()[:-1])
    assert f"{file.name}: is cut short" in error_line(fewshot("search", "index", "photos/face.jpg"))


def test_a_query_that_fails_leaves_the_others(built: Path) -> None:
    Path("bad.jpg").write_bytes(b"no image")
    result = fewshot("search", "index", "nowhere.jpg", "bad.jpg", "photos/face.jpg", "--json", "--sheet", "s.png")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 3  # one for each, and that the sheet lacks them
    entries = json.loads(result.stdout)
    assert [entry["query"] for entry in entries] == ["nowhere.jpg", "bad.jpg", "photos/face.jpg"]
    assert [len(entry["hits"]) for entry in entries] == [0, 0, 10]
    assert Image.open("s.png").size[0] > 1000


def test_pictures_of_hits_and_of_why(built: Path) -> None:
    queries = ("photos/cat/0.jpg", "photos/cup/0.jpg")
    result = fewshot("search", "index", *queries, "-k", "2", "--sheet", "s.jpg", "--explain", "why")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in Path("why").iterdir()) == ["0-2_explain.jpg", "0_explain.jpg"]
    with Image.open("why/0_explain.jpg") as image:
        assert image.width > 4 * 260
        assert np.asarray(image).std() > 20  # not an empty page
    assert Image.open("s.jpg").height > 2 * 200
    options = ("--combine", "any", "--not", "photos/face.jpg", "--json", "-k", "20", "--explain", "why2")
    entry = printed(fewshot("search", "index", *queries, *options))[0]
    assert entry["query"] == list(queries)
    assert "photos/face.jpg" not in [hit["path"] for hit in entry["hits"]]
    assert len(entry["hits"]) == 10


def test_duplicates_are_listed_in_groups(built: Path) -> None:
    shutil.copy("photos/face.jpg", "photos/face copy.jpg")
    assert fewshot("index", "update", "index").exit_code == 0
    groups = printed(fewshot("index", "duplicates", "index", "--threshold", "0.999", "--json"))
    assert groups == [{"score": pytest.approx(1, abs=1e-5), "paths": ["photos/face.jpg", "photos/face copy.jpg"]}]
    assert "1 groups, 2 images" in fewshot("index", "duplicates", "index", "--threshold", "0.999").stdout


def test_paths_name_the_files_from_wherever_it_is_searched(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built / "photos")
    hits = printed(fewshot("search", "../index", "face.jpg", "-k", "2", "--json"))[0]["hits"]
    assert hits[0]["path"] == str(built / "photos" / "face.jpg")
    assert all(Path(hit["path"]).is_file() for hit in hits)


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("search", ("--csv", "index/index.db")),
        ("search", ("--explain", "index/why")),
        ("search", ("--sheet", "photos/cat/1.jpg")),  # an image of the gallery
        ("reid rank", ("--out", "link.csv")),  # a link to one
        ("reid search", ("--sheet", "photos/cat/0.jpg")),  # the query
    ],
)
def test_no_output_goes_over_the_index_or_an_image(built: Path, command: str, output: tuple[str, str]) -> None:
    Path("link.csv").symlink_to(Path("photos/cat/2.jpg"))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    camera = ("--camera", "1") if command.startswith("reid") else ()
    done = fewshot(*command.split(), "index", "photos/cat/0.jpg", *output, *camera)
    assert done.exit_code == 1, done.output
    assert "the output" in done.stderr
    assert "choose another place" in done.stderr
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
