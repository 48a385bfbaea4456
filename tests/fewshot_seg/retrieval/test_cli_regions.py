"""`fewshot-seg search --regions`, as people type it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot_seg.imaging.geometry import decode_rle
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval.index import Index
from tests.fewshot_seg.command_line import error_line, fewshot, names_in


@pytest.fixture(scope="module")
def folder(embedder: Embedder, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("indexes") / "photos.index"
    Index.build(pictures, embedder, where)
    return where


def test_boxes_in_json_masks_and_overlays_in_a_folder(folder: Path, pictures: Path, tmp_path: Path) -> None:
    query = pictures / "cat" / "0.jpg"
    sheet, table = tmp_path / "sheet.png", tmp_path / "hits.csv"
    outputs = ("--out", tmp_path / "out", "--sheet", sheet, "--csv", table, "--json")
    done = fewshot("search", folder, query, "--regions", "-k", 2, *outputs)
    assert done.exit_code == 0, done.output
    (printed,) = json.loads(done.stdout)
    assert printed["query"] == str(query)
    assert [set(hit) for hit in printed["hits"]] == [{"path", "score", "bbox"}] * 2
    (search,) = json.loads((tmp_path / "out" / "regions.json").read_text())["searches"]
    assert [hit["bbox"] for hit in search["hits"]] == [hit["bbox"] for hit in printed["hits"]]
    assert len(names_in(tmp_path / "out")) == 5
    for hit in search["hits"]:
        labels = np.asarray(Image.open(tmp_path / "out" / hit["mask"]))
        assert np.array_equal(labels == 1, decode_rle(hit["segmentation"]))
        assert Image.open(tmp_path / "out" / hit["overlay"]).size == (280, 220)
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["box"] for row in rows] == [",".join(map(str, hit["bbox"])) for hit in printed["hits"]]
    assert Image.open(sheet).width > 400


def test_several_examples_of_one_object_and_a_box(folder: Path, pictures: Path) -> None:
    cats = [pictures / "cat" / name for name in ("0.jpg", "1.jpg")]
    (both,) = json.loads(fewshot("search", folder, *cats, "--regions", "--combine", "average", "--json").stdout)
    assert both["query"] == [str(cat) for cat in cats]
    boxed = fewshot("search", folder, cats[0], "--regions", "--box", "20,20,200,150", "--threshold", 0.01, "-k", 3)
    assert boxed.exit_code == 0
    assert "box" in boxed.stdout


def test_what_cannot_be_read_is_told_and_the_others_are_done(
    embedder: Embedder, pictures: Path, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes((pictures / "cat" / f"{number}.jpg").read_bytes())
    where = tmp_path / "index"
    Index.build(tmp_path, embedder, where)
    (tmp_path / "1.jpg").unlink()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    done = fewshot("search", where, bad, pictures / "cat" / "0.jpg", "--regions", "--json")
    assert done.exit_code == 1
    first, second = json.loads(done.stdout)
    assert "bad.png" in first["error"]
    assert len(second["hits"]) == 2
    assert "1.jpg" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--candidates", "5"), "are for --regions"),
        (("--out", "x"), "are for --regions"),
        (("--regions", "--combine", "any"), "leave them out"),
        (("--regions", "--explain", "x"), "leave them out"),
        (("--regions", "--box", "1,2"), "four numbers"),
    ],
)
def test_options_that_do_not_go_together(folder: Path, pictures: Path, options: tuple[str, ...], words: str) -> None:
    assert words in error_line(fewshot("search", folder, pictures / "face.jpg", *options))
