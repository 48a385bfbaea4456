"""An index on disk: what is damaged is named, what is interrupted goes on, and others may be at work."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import fewshot_seg as fs
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval import store
from tests.architecture.imports import ROOT
from tests.privileges import folder_for_everyone, unprivileged


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def vectors_of(index: fs.Index) -> dict[str, bytes]:
    return {path: index.vectors[row].tobytes() for row, path in enumerate(index.paths)}


@pytest.fixture
def built(pictures: Path, embedder: Embedder, tmp_path: Path) -> Path:
    """The folder of an index of the two folders of pictures."""
    fs.Index.build([pictures / "cat", pictures / "cup"], embedder, tmp_path / "built")
    return tmp_path / "built"


@pytest.mark.parametrize("name", ["vectors-*.f32", "index.db"])
@pytest.mark.parametrize("damage", ["cut short", "damaged", "missing"])
def test_a_damaged_file_is_named(built: Path, name: str, damage: str) -> None:
    path = next(built.glob(name))
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(content[:-7])
    else:
        content[-20] ^= 1
        path.write_bytes(content)
    with pytest.raises(fs.DataError, match=path.name) as error:
        fs.Index.load(built)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM config",
        "UPDATE config SET value = '{'",
        f"UPDATE config SET value = '{'[' * 100_000}'",
        "UPDATE config SET value = json_set(value, '$.end', 1e400)",
        "UPDATE config SET value = json_set(value, '$.counted', 4)",
        "UPDATE config SET value = json_set(value, '$.identity.dim', 4194304)",
        "UPDATE config SET value = json_set(value, '$.vectors', '../pictures.f32')",
        "UPDATE config SET value = json_set(value, '$.odd', 1)",
        "UPDATE rows SET slot = 1000000000000 WHERE slot = 1",
        "UPDATE rows SET root = 7 WHERE slot = 1",
        "UPDATE rows SET path = x'00ff' WHERE slot = 1",
        "UPDATE rows SET columns = '[' WHERE slot = 1",
        "UPDATE rows SET path = 'other.jpg' WHERE slot = 1",
        "DROP TABLE rows",
        "PRAGMA application_id = 7",
    ],
)
def test_a_forged_database_is_named(built: Path, change: str) -> None:
    with closing(sqlite3.connect(built / "index.db")) as database, database:
        database.execute(change)
    with pytest.raises(fs.DataError, match=r"index\.db|vectors-") as error:
        fs.Index.load(built)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"SQLite format 3\0" + bytes(200)])
def test_a_database_that_is_none_is_named(built: Path, content: bytes) -> None:
    (built / "index.db").write_bytes(content)
    with pytest.raises(fs.DataError, match=r"index.db: is damaged"):
        fs.Index.load(built)


def test_another_version_s_index_and_none_at_all_are_told_apart(built: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(built / "index.db")) as database, database:
        database.execute("PRAGMA user_version = 3")
    with pytest.raises(fs.DataError, match="newer"):
        fs.Index.load(built)
    (tmp_path / "old" / "segments").mkdir(parents=True)
    (tmp_path / "old" / "index.json").write_text("{}")
    with pytest.raises(fs.DataError, match="made by an earlier version: build it again"):
        fs.Index.load(tmp_path / "old")
    for none in (tmp_path, tmp_path / "nowhere", built / "index.db"):
        with pytest.raises(fs.DataError, match="is no index"):
            fs.Index.load(none)


class Stop(BaseException):
    """As Ctrl-C comes: anywhere, and no Exception."""


def stopping_after(count: int) -> Any:
    def track(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        for number, item in enumerate(items):
            if number == count:
                raise Stop
            yield item

    return track


def test_an_interrupted_build_goes_on_and_ends_the_same(
    pictures: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_ROWS", 2)
    whole = fs.Index.build(pictures, embedder)
    seen = []

    def counting(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        seen.append(total)
        yield from items

    out = tmp_path / "index"
    for count in (5, 3):
        with pytest.raises(Stop):
            fs.Index.build(pictures, embedder, out, batch_size=1, progress=stopping_after(count))
        with pytest.raises(fs.DataError, match="build was interrupted; run it again"):
            fs.Index.load(out)
    resumed = fs.Index.build(pictures, embedder, out, progress=counting)
    assert seen == [11 - 5 - 3]
    assert resumed.paths == whole.paths
    assert np.array_equal(np.asarray(resumed.vectors), np.asarray(whole.vectors))
    assert fs.Index.load(out).paths == whole.paths


def test_an_interrupted_build_of_relative_paths_goes_on(
    pictures: Path, tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that paths count from is recorded no later than the first rows."""
    monkeypatch.chdir(pictures)
    with pytest.raises(Stop):
        fs.Index.build("cat", embedder, tmp_path / "index", batch_size=1, progress=stopping_after(2))
    assert len(fs.Index.build("cat", embedder, tmp_path / "index")) == 5


def test_what_an_interrupted_build_left_counts_only_where_it_is_still_asked_for(
    pictures: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_ROWS", 2)
    out, copy = tmp_path / "index", tmp_path / "pictures"
    shutil.copytree(pictures, copy)
    with pytest.raises(Stop):
        fs.Index.build(copy, embedder, out, batch_size=1, progress=stopping_after(6))
    shutil.copy(copy / "cup" / "4.jpg", copy / "cat" / "1.jpg")  # changed meanwhile
    index = fs.Index.build(copy / "cat", embedder, out)
    assert sorted(index.paths) == sorted(str(path) for path in (copy / "cat").iterdir())
    assert vectors_of(index) == vectors_of(fs.Index.build(copy / "cat", embedder))


def test_an_interrupted_add_leaves_the_old_index(
    pictures: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART_ROWS", 2)
    index = fs.Index.build(pictures / "cat", embedder, tmp_path / "index")
    with pytest.raises(Stop):
        index.add(pictures / "cup", batch_size=1, progress=stopping_after(3))
    assert len(fs.Index.load(tmp_path / "index")) == 5
    assert fs.Index.load(tmp_path / "index").info()["complete"]
    index = fs.Index.load(tmp_path / "index", embedder)
    assert index.add(pictures / "cup").added == 5
    assert vectors_of(index) == vectors_of(fs.Index.build([pictures / "cat", pictures / "cup"], embedder))
    assert index.info()["pending"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes that are killed so")
def test_killed_at_any_moment_or_changed_by_several_it_is_never_broken(
    built: Path, pictures: Path, checkpoint: Path
) -> None:
    images = [str(pictures / "face.jpg"), *(str(pictures / "cup" / f"{number}.jpg") for number in (1, 2))]
    fs.Index.load(built).remove(images)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fewshot_seg.retrieval.hostile", str(built), str(checkpoint), *images],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_who_doesn_t_wait_is_refused(built: Path, embedder: Embedder, pictures: Path) -> None:
    with FileLock(built / ".lock"):
        with pytest.raises(fs.ConfigError, match="another process is at work in it"):
            fs.Index.load(built, embedder).add(pictures / "face.jpg")
        assert len(fs.Index.load(built)) == 10  # reading needs no lock


def test_a_reader_keeps_its_index_while_others_change_it(built: Path, embedder: Embedder, pictures: Path) -> None:
    reader, writer = fs.Index.load(built), fs.Index.load(built, embedder)
    before = vectors_of(reader)
    writer.add(pictures / "face.jpg")
    writer.remove(pictures / "cat")
    writer.rebuild()
    assert len(list(built.glob("vectors-*"))) == 1
    assert vectors_of(reader) == before
    reader.add(pictures / "face.jpg")  # sees what the other has done
    assert len(reader) == 6


def test_a_read_only_index_can_be_searched_and_not_changed(pictures: Path, embedder: Embedder) -> None:
    with folder_for_everyone() as folder:
        fs.Index.build(pictures / "cat", embedder, folder / "index")
        (folder / "index").chmod(0o555)
        try:
            with unprivileged():
                index = fs.Index.load(folder / "index", embedder)
                assert len(index.search(np.zeros((9, 9, 3), np.uint8), k=2)) == 2
                with pytest.raises(fs.OutputError, match="cannot write"):
                    index.remove(pictures)
        finally:
            (folder / "index").chmod(0o755)


def test_a_folder_with_other_files_is_not_made_an_index(pictures: Path, embedder: Embedder, built: Path) -> None:
    before = files_of(pictures)
    with pytest.raises(fs.ConfigError, match="holds other files"):
        fs.Index.build(pictures, embedder, pictures)
    with pytest.raises(fs.ConfigError, match="holds other files"):
        fs.Index.load(built).save(pictures)
    with pytest.raises(fs.ConfigError, match="holds an index already"):
        fs.Index.build(pictures / "cat", embedder, built)
    again = fs.Index.build([pictures / "cat", pictures / "cup"], embedder, built)
    assert (again.changes.unchanged, again.changes.added) == (10, 0)
    assert files_of(pictures) == before


def test_save_replaces_an_index_as_a_whole(built: Path, pictures: Path, embedder: Embedder, tmp_path: Path) -> None:
    small = fs.Index.build(pictures / "face.jpg", embedder)
    small.save(built)
    assert fs.Index.load(built).paths == [str(pictures / "face.jpg")]
    assert len(list(built.glob("vectors-*"))) == 1
    assert small.folder is None


def test_vectors_are_written_anew_when_most_are_holes(
    pictures: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MANY_HOLES", 2)
    index = fs.Index.build(pictures, embedder, tmp_path / "index")
    before, reader = vectors_of(index), fs.Index.load(tmp_path / "index")
    sizes = []
    for path in sorted((pictures / "cat").iterdir()) + sorted((pictures / "cup").iterdir()):
        index.remove(path)
        sizes.append(next((tmp_path / "index").glob("vectors-*")).stat().st_size // (4 * 1280))
    assert sizes == [11, 11, 11, 11, 11, 5, 5, 5, 2, 2]
    face = str(pictures / "face.jpg")
    assert vectors_of(fs.Index.load(tmp_path / "index", verify=True)) == {face: before[face]}
    assert vectors_of(reader) == before


FOREIGN = ("segments/mine.npy", "index.lock", ".lock", "index.db", "index.db-journal", "vectors.f32")


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("linked", [False, True])
def test_nothing_of_a_foreign_folder_is_touched(
    pictures: Path, embedder: Embedder, tmp_path: Path, name: str, linked: bool
) -> None:
    folder, own = tmp_path / "a", tmp_path / "own"
    own.write_bytes(b"mine")
    (folder / name).parent.mkdir(parents=True)
    if linked:
        (folder / name).symlink_to(own)
    else:
        (folder / name).write_bytes(b"mine")
    with pytest.raises(fs.ConfigError, match="holds other files and no index"):
        fs.Index.build(pictures, embedder, folder)
    with pytest.raises(fs.ConfigError, match="holds other files and no index"):
        fs.Index.build(pictures / "cat", embedder).save(folder)
    assert [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()] == [Path(name)]
    assert (folder / name).read_bytes() == own.read_bytes() == b"mine"


def test_what_lies_beside_an_index_stays_and_links_are_not_followed(
    built: Path, pictures: Path, embedder: Embedder, tmp_path: Path
) -> None:
    (built / "segments").mkdir()
    mine = [built / "segments" / "mine.npy", built / "vectors-0123456789abcdef.f32", built / "notes.txt"]
    for path in mine:
        path.write_bytes(b"mine")
    index = fs.Index.load(built, embedder)
    index.remove(pictures / "cat")
    index.rebuild()
    assert all(path.read_bytes() == b"mine" for path in mine)
    for name in ("index.db", index._contents.config.vectors):
        (built / name).rename(tmp_path / name)
        (built / name).symlink_to(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        assert len(fs.Index.load(built)) == 5  # to read, a link will do
        with pytest.raises((fs.ConfigError, fs.OutputError), match=r"own file|cannot write"):
            index.add(pictures / "face.jpg")
        assert (tmp_path / name).read_bytes() == before
        (built / name).unlink()
        (tmp_path / name).rename(built / name)


def test_vectors_that_are_not_finite_are_refused_when_they_are_made(
    pictures: Path, checkpoint: Path, tmp_path: Path
) -> None:
    broken = fs.load_embedder(checkpoint, device="cpu")
    for name, value in broken.trunk.state_dict().items():
        if name.endswith("running_var"):
            value.fill_(-1)
    with pytest.raises(fs.DataError, match=r"none of the 5 images .*jpg.*not finite.*check its weights"):
        fs.Index.build(pictures / "cat", broken, tmp_path / "index")
    with pytest.raises(fs.DataError, match="is no index"):
        fs.Index.load(tmp_path / "index")
