"""From what people type to a list of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_seg.errors import DataError
from fewshot_seg.imaging.find import find_images, natural_key
from tests.fewshot_seg.image_files import write_good_images
from tests.privileges import folder_for_everyone, unprivileged


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder: photos/{1,2,10}, notes, a hidden file and subfolders; a folder without images."""
    files = ["photos/10.jpg", "photos/2.JPG", "photos/1.png", "photos/notes.txt", "photos/.hidden.jpg"]
    files += [
        "photos/sub/3.webp",
        "photos/.secret/4.jpg",
        "photos/sub2/x/5.tiff",
        "empty/notes.txt",
        "data.dat",
    ]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "photos" / "folder.jpg").mkdir()
    monkeypatch.chdir(tmp_path)
    return Path("photos")


def names(patterns: list[str | Path] | str | Path, *, recursive: bool = False) -> list[str]:
    return [path.as_posix() for path in find_images(patterns, recursive=recursive)]


def test_a_folder_in_natural_order(photos: Path) -> None:
    assert names([photos]) == ["photos/1.png", "photos/2.JPG", "photos/10.jpg"]
    assert names(photos) == names(str(photos)) == names([f"{photos}/"]) == names(["./photos"])


def test_subfolders_when_asked(photos: Path) -> None:
    expected = [*names(photos), "photos/sub/3.webp", "photos/sub2/x/5.tiff"]
    assert names(photos, recursive=True) == expected


def test_files_are_taken_whatever_their_suffix(photos: Path) -> None:
    assert names(["data.dat", photos / "notes.txt"]) == ["data.dat", "photos/notes.txt"]
    assert names([photos / ".hidden.jpg"]) == ["photos/.hidden.jpg"]


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["photos/10.jpg"]),
        ("photos/[12]*", ["photos/1.png", "photos/2.JPG", "photos/10.jpg"]),
        ("photos/*.*", ["photos/1.png", "photos/2.JPG", "photos/10.jpg"]),
        ("photos/?.*", ["photos/1.png", "photos/2.JPG"]),
        ("photos/*", ["photos/1.png", "photos/2.JPG", "photos/10.jpg", "photos/sub/3.webp"]),
        ("photos/**/*.tiff", ["photos/sub2/x/5.tiff"]),
        ("*.dat", ["data.dat"]),
        ("photos/*.txt", ["photos/notes.txt"]),
    ],
)
def test_globs(pattern: str, expected: list[str]) -> None:
    assert names([pattern]) == expected


def test_each_file_once_where_it_first_comes_up(photos: Path) -> None:
    (photos / "link.jpg").symlink_to("10.jpg")
    found = names([photos / "10.jpg", photos, "photos/*.png", photos / "sub" / ".." / "2.JPG"])
    assert found == ["photos/10.jpg", "photos/1.png", "photos/2.JPG"]


@pytest.mark.usefixtures("photos")
def test_order_of_arguments_is_kept() -> None:
    assert names(["photos/2.JPG", "photos/1.png"]) == ["photos/2.JPG", "photos/1.png"]


def test_names_that_look_like_patterns_win_over_them(tmp_path: Path) -> None:
    good = write_good_images(tmp_path)
    for path in good.values():
        assert find_images([path]) == find_images([str(path)]) == [path]
    assert set(find_images(tmp_path)) == set(good.values())


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("photo", "photo: no such file or folder"),
        ("photos/7.jpg", "photos/7.jpg: no such file or folder"),
        ("photos/*.gif", r"photos/\*.gif: matches no image"),
        ("empty", "empty: the folder has no images"),
        ("empty/*", r"empty/\*: matches no image"),
        ("", "'': no such file or folder"),
        ("a" * 5000, "no such file or folder"),
        ("nul\0", "no such file or folder"),
        ("[", "matches no image"),
    ],
)
def test_what_matches_nothing_is_named(pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        find_images(["photos", pattern])
    assert "\n" not in str(caught.value)


def test_subfolders_are_not_searched_unasked(photos: Path) -> None:
    (photos / "deep" / "er").mkdir(parents=True)
    (photos / "deep" / "er" / "a.jpg").touch()
    with pytest.raises(DataError, match="subfolders are not searched"):
        find_images(photos / "deep")
    assert names(photos / "deep", recursive=True) == ["photos/deep/er/a.jpg"]


def test_nothing_given() -> None:
    with pytest.raises(DataError, match="no images were given"):
        find_images([])


def test_links_to_folders_do_not_loop(photos: Path) -> None:
    (photos / "loop").symlink_to(photos.resolve(), target_is_directory=True)
    assert len(find_images(photos, recursive=True)) == 5


def test_linked_folders_are_searched_each_real_one_once_and_under_its_own_name(photos: Path, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere" / "far").mkdir(parents=True)
    (elsewhere / "x.jpg").write_bytes(b"")
    (elsewhere / "back").symlink_to(photos.resolve(), target_is_directory=True)
    before = names(photos, recursive=True)
    for name in ("0-first", "z-last"):
        (photos / name).symlink_to(elsewhere.parent, target_is_directory=True)
    (photos / "00").symlink_to((photos / "deep").resolve(), target_is_directory=True)
    assert names(photos, recursive=True) == [*before, "photos/0-first/far/x.jpg"]


def test_a_broken_link_is_kept_for_the_reader_to_report(photos: Path) -> None:
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    assert "photos/gone.jpg" in names(photos)


def test_a_closed_folder() -> None:
    with folder_for_everyone() as folder:
        folder.chmod(0o311)  # may be entered, not listed
        with unprivileged(), pytest.raises(DataError, match="cannot be listed"):
            find_images(folder)


@given(st.lists(st.text(alphabet="ab019.²٣", max_size=8)))
def test_natural_order_does_not_depend_on_the_order_before(texts: list[str]) -> None:
    turned = texts[::-1]
    assert sorted(texts, key=natural_key) == sorted(turned, key=natural_key)


def test_natural_order_counts() -> None:
    numbered = [f"img{number}.png" for number in range(200)]
    assert sorted(sorted(numbered), key=natural_key) == numbered


def test_a_loop_of_links_is_a_file_that_reading_will_refuse(photos: Path) -> None:
    (photos / "loop.jpg").symlink_to("loop.jpg")
    assert names(photos)[-1] == f"{photos}/loop.jpg"
