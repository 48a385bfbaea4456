"""What may happen to images after they were indexed: added, removed, changed, moved, gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fewshot_seg as fs
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval.ingest import Changes
from tests.fewshot_seg.image_files import write_bad_images, write_good_images


@pytest.fixture
def own(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `photos`: cat/0.jpg to 4.jpg, cup/..., face.jpg."""
    shutil.copytree(pictures, tmp_path / "work" / "photos")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def counts(changes: Changes) -> tuple[int, int, int, int]:
    return changes.added, changes.replaced, changes.removed, changes.unchanged


def test_good_images_are_indexed_and_bad_ones_listed(tmp_path: Path, embedder: Embedder) -> None:
    good = [str(path) for path in write_good_images(tmp_path / "good").values()]
    bad = [str(path) for path in write_bad_images(tmp_path / "bad").values()]
    index = fs.Index.build([*bad[:7], *good, *bad[7:]], embedder, tmp_path / "index")
    assert index.paths == good
    assert sorted(failure.path for failure in index.changes.failures) == sorted(bad)
    assert all(failure.path in failure.error and "\n" not in failure.error for failure in index.changes.failures)
    loaded = fs.Index.load(tmp_path / "index", embedder)
    assert loaded.paths == good
    for path in good[:3]:
        assert path in [hit.path for hit in loaded.search(path, k=len(good)) if hit.score > 0.9999]


def test_nothing_that_can_be_read_is_an_error_and_no_index(tmp_path: Path, embedder: Embedder) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"text")
    with pytest.raises(fs.DataError, match=r"none of the 1 images can be read: .*bad.jpg"):
        fs.Index.build(tmp_path / "bad.jpg", embedder, tmp_path / "index")
    with pytest.raises(fs.DataError, match="is no index"):
        fs.Index.load(tmp_path / "index")
    (tmp_path / "empty").mkdir()
    with pytest.raises(fs.DataError, match="the folder has no images"):
        fs.Index.build(tmp_path / "empty", embedder)


def test_columns_belong_to_their_images(own: Path, embedder: Embedder) -> None:
    paths = ["photos/cat/0.jpg", "photos/cup/0.jpg"]
    index = fs.Index.build(paths, embedder, columns={"id": ["7", "8"]})
    index.add(["photos/face.jpg"], columns={"camera": ["c2"]})
    assert index.columns == {"id": ["7", "8", ""], "camera": ["", "", "c2"]}
    changes = index.add(["photos/cat/0.jpg"], columns={"id": ["9"]})
    assert counts(changes) == (0, 1, 0, 0)
    assert dict(zip(index.paths, index.columns["id"], strict=True))["photos/cat/0.jpg"] == "9"
    with pytest.raises(fs.DataError, match="column 'id' has 1 values for 2 images"):
        fs.Index.build(paths, embedder, columns={"id": ["7"]})
    with pytest.raises(fs.DataError, match="is there twice, with other columns"):
        fs.Index.build([paths[0], "./" + paths[0]], embedder, columns={"id": ["7", "8"]})


def test_update_follows_the_files(own: Path, embedder: Embedder) -> None:
    index = fs.Index.build(["photos", "photos/*.jpg"], embedder, "index")
    assert counts(index.update()) == (0, 0, 0, 11)
    Path("photos/cat/0.jpg").unlink()
    shutil.copy("photos/cup/1.jpg", "photos/cat/1.jpg")
    os.utime("photos/cat/2.jpg")  # touched, and the same
    shutil.copy("photos/face.jpg", "photos/cup/new.jpg")
    Path("photos/cat/3.jpg").write_bytes(b"broken")
    before = index.vectors[index.paths.index("photos/cat/3.jpg")]
    changes = fs.Index.load("index", embedder).update()
    assert counts(changes) == (1, 2, 1, 7)
    assert [failure.path for failure in changes.failures] == ["photos/cat/3.jpg"]
    index = fs.Index.load("index")
    assert sorted(index.paths) == sorted(
        [f"photos/cat/{n}.jpg" for n in (1, 2, 3, 4)]
        + [f"photos/cup/{n}.jpg" for n in (0, 1, 2, 3, 4, "new")]
        + ["photos/face.jpg"]
    )
    place = {path: row for row, path in enumerate(index.paths)}
    assert np.array_equal(index.vectors[place["photos/cat/1.jpg"]], index.vectors[place["photos/cup/1.jpg"]])
    assert np.array_equal(index.vectors[place["photos/cat/3.jpg"]], before)
    assert counts(fs.Index.load("index", embedder).update()) == (0, 0, 0, 10)


def test_images_of_a_folder_that_is_gone_are_kept(own: Path, embedder: Embedder) -> None:
    index = fs.Index.build(["photos/cat", "photos/cup"], embedder)
    Path("photos/cat").rename("elsewhere")
    changes = index.update()
    assert counts(changes) == (0, 0, 0, 5)
    assert "the folder is gone" in changes.failures[0].error
    assert len(index) == 10


def test_removed_images_stay_away_until_they_are_added_again(own: Path, embedder: Embedder) -> None:
    index = fs.Index.build("photos", embedder, "index")
    Path("photos/cup/0.jpg").unlink()  # gone or not, it can be removed
    changes = index.remove(["photos/cat", "photos/cup/[0-1].jpg", str(own / "photos/cup/2.jpg"), "photos/dog"])
    assert changes.removed == 8
    assert [failure.path for failure in changes.failures] == ["photos/dog"]
    rest = ["photos/face.jpg", "photos/cup/3.jpg", "photos/cup/4.jpg"]
    assert sorted(index.paths) == sorted(rest)
    assert counts(index.update()) == (0, 0, 0, 3)
    assert index.info()["removed_rows"] == 8
    found = [hit.path for hit in index.search("photos/cat/0.jpg", k=20)]
    assert sorted(found) == sorted(rest)
    index.rebuild()
    assert (index.info()["removed_rows"], sorted(index.paths)) == (0, sorted(rest))
    assert index.add("photos/cat/0.jpg").added == 1
    assert index.update().added == 0


@pytest.mark.parametrize(
    ("pattern", "removed"),
    [
        ("photos/*.jpg", ["photos/face.jpg"]),
        ("**/0.jpg", ["photos/cat/0.jpg", "photos/cup/0.jpg"]),
        ("photos/c?t/[!1-9].jpg", ["photos/cat/0.jpg"]),
        ("photos/c*p", [f"photos/cup/{n}.jpg" for n in range(5)]),
        ("photos/ca", []),
        ("*", None),
    ],
)
def test_patterns_remove_what_they_would_find(
    own: Path, embedder: Embedder, pattern: str, removed: list[str] | None
) -> None:
    index = fs.Index.build("photos", embedder)
    before = index.paths
    index.remove(pattern)
    assert sorted(set(before) - set(index.paths)) == (sorted(before) if removed is None else removed)


def test_an_index_finds_its_images_from_anywhere_and_moved_with_them(
    own: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.Index.build(["photos/cat", str(own / "photos" / "face.jpg")], embedder, "index")
    monkeypatch.chdir("/")
    index = fs.Index.load(own / "index", embedder)
    hit = index.search(own / "photos" / "cat" / "0.jpg", k=1)[0]
    assert (hit.path, hit.location) == ("photos/cat/0.jpg", str(own / "photos/cat/0.jpg"))
    moved = own.with_name("moved")
    own.rename(moved)
    index = fs.Index.load(moved / "index", embedder)
    hit = index.search(moved / "photos" / "cat" / "0.jpg", k=1)[0]
    assert hit.path == "photos/cat/0.jpg"
    assert Path(hit.location).samefile(moved / "photos/cat/0.jpg")
    assert hit.maps().hit.max() == 1
    shutil.copy(moved / "photos/face.jpg", moved / "photos/cat/new.jpg")
    changes = index.update()
    assert counts(changes) == (1, 0, 1, 5)  # the one with an absolute path is gone


def test_odd_names_and_tiny_images(tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a b.png", "ünï.png", "[x]*.png", "new\nline.png", "'q\".png", "-k.png", os.fsdecode(b"\xff\xfe.png")]
    for number, name in enumerate(names):
        Image.fromarray(np.full((1, 1, 3), 30 * number, np.uint8)).save(open(name, "wb"), "PNG")  # noqa: SIM115, PTH123
    fs.Index.build(names, embedder, "index")
    index = fs.Index.load("index", embedder)
    assert index.paths == names
    assert index.remove([names[2]]).removed == 1
    assert index.remove([names[6]]).removed == 1
    assert counts(index.update()) == (0, 0, 0, 5)
