"""Names of outputs, and the reading of --support, --support-mask and --support-box."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_seg.commands.outputs import output_stems, refuse_overwriting
from fewshot_seg.commands.result_files import without_results
from fewshot_seg.commands.supports import Shot, parse_supports
from fewshot_seg.errors import ConfigError, DataError
from tests.fewshot_seg.image_files import write_good_images


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a/x.jpg", "b/x.jpg", "c/y.png"], ["x", "x-2", "y"]),
        (["x.jpg", "x.png", "x.gif"], ["x", "x-2", "x-3"]),
        (["a/x.jpg", "b/x.jpg", "c/x-2.jpg"], ["x", "x-3", "x-2"]),
        (["c/x-2.jpg", "a/x.jpg", "b/x.jpg", "d/x-2.jpg"], ["x-2", "x", "x-3", "x-2-2"]),
        (["a/X.jpg", "b/x.jpg"], ["X", "x-2"]),
        (["a/e\u0301.jpg", "b/\u00e9.jpg"], ["e\u0301", "\u00e9-2"]),
        ([".hidden", "a.b.jpg"], [".hidden", "a.b"]),
    ],
)
def test_output_stems(names, stems):
    assert output_stems([Path(name) for name in names]) == stems


@given(st.lists(st.sampled_from(["x", "x-2", "x-3", "x-2-2", "X-2", "y", "y-2"]), max_size=12))
def test_output_stems_are_unique_and_repeat(names):
    paths = [Path(str(number)) / f"{name}.jpg" for number, name in enumerate(names)]
    stems = output_stems(paths)
    assert len({stem.casefold() for stem in stems}) == len(names)
    assert stems == output_stems(paths)


def test_output_stems_of_long_names_fit_a_file_system():
    stems = output_stems([Path("猫" * 84 + ".jpg"), Path("a") / ("猫" * 84 + ".png")])
    assert len(set(stems)) == 2
    assert all(len(f"{stem}_overlay.jpg".encode()) <= 255 for stem in stems)


def test_an_output_that_is_an_input_is_refused(tmp_path):
    (tmp_path / "x_mask.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"x_mask\.png would overwrite"):
        refuse_overwriting([tmp_path / "a" / ".." / "x_mask.png"], [tmp_path / "x_mask.png"])
    refuse_overwriting([tmp_path / "y_mask.png"], [tmp_path / "x_mask.png"])


def test_an_output_inside_an_input_is_refused(tmp_path):
    index = tmp_path / "index"
    (index / "segments").mkdir(parents=True)
    (index / "index.json").write_bytes(b"")
    (tmp_path / "photo.jpg").write_bytes(b"")
    (tmp_path / "link").symlink_to(index)
    (tmp_path / "link.csv").symlink_to(tmp_path / "photo.jpg")
    (index / "out.csv").symlink_to(tmp_path / "elsewhere.csv")
    for inside in ("index/new.csv", "index/index.json", "link/a/b/new.csv", "index/out.csv", "a/../index/segments"):
        with pytest.raises(ConfigError, match=r"would lie in .*index, which is read; choose another place"):
            refuse_overwriting([tmp_path / "fine.csv", tmp_path / inside], [index])
    for same in ("index", "link", "link.csv"):
        with pytest.raises(ConfigError, match="would overwrite"):
            refuse_overwriting([tmp_path / same], [index, tmp_path / "photo.jpg"])
    beside = [tmp_path / "index2" / "a.csv", tmp_path / "index.csv", tmp_path / "new" / "a.csv"]
    refuse_overwriting(beside, [index, tmp_path / "gone", tmp_path / "photo.jpg"])


def test_a_loop_of_links_is_no_crash(tmp_path):
    (loop := tmp_path / "loop.png").symlink_to(loop)
    refuse_overwriting([tmp_path / "a.png"], [loop])
    with pytest.raises(ConfigError, match=r"for .cat. and for .dog."):
        parse_supports([f"cat={loop}", f"dog={loop}"])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "\xff", '{"images": 3}', '{"images": [{"file_name": "a.png"}]}', '{"images": [[]]}']
)
def test_another_programs_results_json_hides_no_image(tmp_path, text):
    (tmp_path / "results.json").write_text(text, "latin-1")
    assert without_results([tmp_path / "a.png"]) == [tmp_path / "a.png"]
    assert without_results([tmp_path / "nowhere" / "a.png"]) == [tmp_path / "nowhere" / "a.png"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with images, which is also where the paths are looked up."""
    good = write_good_images(tmp_path / "good")
    for name in (
        "a.png",
        "b.png",
        "m1.png",
        "m2.png",
        "lr=0.1/c.png",
        "shots/1.png",
        "shots/2.png",
        "shots/10.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(good["rgb_png"], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(shots: tuple[Shot, ...]) -> list[str]:
    return [shot.path.as_posix() for shot in shots]


def test_shots_and_classes_keep_their_order(folder):
    classes = parse_supports(["dog=b.png", "cat=a.png", "dog=a.png", "cat=shots"], boxes=["dog=0,0,5,5", "dog=1,2,3,4"])
    assert list(classes) == ["dog", "cat"]
    assert paths(classes["cat"]) == ["a.png", "shots/1.png", "shots/2.png", "shots/10.png"]
    assert [shot.known.box for shot in classes["dog"]] == [(0, 0, 5, 5), (1, 2, 3, 4)]


def test_a_path_alone_is_an_object(folder):
    assert list(parse_supports(["a.png"])) == ["object"]
    assert paths(parse_supports(["lr=0.1/c.png"])["object"]) == ["lr=0.1/c.png"]
    assert paths(parse_supports(["lr=0.1"])["object"]) == ["lr=0.1/c.png"]


def test_a_path_may_hold_equals_signs_and_a_name_almost_anything(folder):
    assert paths(parse_supports(["cat=lr=0.1/c.png"])["cat"]) == ["lr=0.1/c.png"]
    assert paths(parse_supports(["x=good/a=b,c=d.png"])["x"]) == ["good/a=b,c=d.png"]
    assert list(parse_supports(["große Katze, 猫 [red]=a.png"])) == ["große Katze, 猫 [red]"]
    assert list(parse_supports(["cafe\u0301=a.png", " café =b.png"])) == ["café"]


def test_every_awkward_file_name_can_be_a_support(folder):
    for path in write_good_images(folder / "more").values():
        assert [shot.path for shot in parse_supports([f"cat={path}"])["cat"]] == [path]


def test_masks_belong_to_the_shots_in_order(folder):
    classes = parse_supports(["cat=a.png", "dog=b.png", "cat=b.png"], ["cat=m1.png", "cat=m2.png"])
    assert [shot.known.mask and shot.known.mask.name for shot in classes["cat"]] == ["m1.png", "m2.png"]
    assert classes["dog"][0].known.mask is None
    assert parse_supports(["a.png"], ["m1.png"])["object"][0].known.mask == Path("m1.png")


@pytest.mark.parametrize(
    ("supports", "masks", "boxes", "message"),
    [
        ([], [], [], "no support"),
        (["=a.png"], [], [], "name before '=' is empty"),
        ([" =a.png"], [], [], "name before '=' is empty"),
        (["cat="], [], [], "nothing stands after"),
        (["cat"], [], [], "NAME=PATH"),
        ([""], [], [], "NAME=PATH"),
        (["cat=a.png"], ["kat=m1.png"], [], "did you mean 'cat'"),
        (["cat=a.png"], ["zebra=m1.png"], [], "the classes are cat"),
        (["cat=a.png", "cat=b.png"], ["cat=m1.png"], [], r"2 support\(s\) but 1 --support-mask"),
        (["cat=a.png"], ["cat=m1.png", "cat=m2.png"], [], r"1 support\(s\) but 2 --support-mask"),
        (["cat=a.png"], [], ["dog=1,2,3,4"], "--support-box names the class 'dog'"),
        (["cat=a.png"], [], ["cat=1,2,3"], "four numbers"),
        (["cat=a.png"], [], ["cat=1,2,x,4"], "four numbers"),
        (["cat=a.png"], [], ["cat=1,2,0,4"], "above 0"),
        (["cat=a.png"], [], ["cat=1,2,nan,4"], "above 0"),
        (["cat=a.png"], [], ["cat=inf,2,3,4"], "finite"),
        (["cat=a.png"], ["cat=m1.png"], ["cat=1,2,3,4"], "both a mask and a box"),
        (["cat=a.png", "cat=a.png"], [], [], "twice for class 'cat'"),
        (["cat=a.png", "cat=./a.png"], [], [], "twice for class 'cat'"),
        (["cat=a.png", "dog=a.png"], [], [], "for 'cat' and for 'dog'"),
        (["cat=a.png", "dog=a.png"], ["cat=m1.png", "dog=m1.png"], [], "for 'cat' and for 'dog'"),
    ],
)
def test_mistakes(folder, supports, masks, boxes, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse_supports(supports, masks, boxes)
    assert "\n" not in str(error.value)


def test_one_photograph_of_two_things_is_told_apart_by_masks_or_boxes(folder):
    classes = parse_supports(["cat=a.png", "dog=a.png"], ["cat=m1.png", "dog=m2.png"])
    assert paths(classes["cat"]) == paths(classes["dog"]) == ["a.png"]
    assert len(parse_supports(["cat=a.png", "cat=a.png"], boxes=["cat=0,0,9,9", "cat=9,9,9,9"])["cat"]) == 2


def test_a_support_that_is_not_there(folder):
    with pytest.raises(DataError, match=r"nowhere\.png"):
        parse_supports(["cat=nowhere.png"])
