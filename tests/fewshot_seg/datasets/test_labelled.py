"""Labelled images: what they hold, class folders, CSV tables, and how a data set is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_seg.datasets.class_folder import choose_classes
from fewshot_seg.datasets.class_folder import load as load_folder
from fewshot_seg.datasets.labelled import LabelledImages, examples, hold_out_classes
from fewshot_seg.datasets.labelled_csv import load as load_csv
from fewshot_seg.datasets.registry import KINDS, load_dataset
from fewshot_seg.errors import ConfigError, DataError


def images(labels, names=("a", "b", "c"), cameras=None) -> LabelledImages:
    paths = tuple(Path(f"{i}.jpg") for i in range(len(labels)))
    return LabelledImages(paths, tuple(labels), names, cameras, tuple(map(str, paths)))


def folders(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(1, count + 1):
            (root / name / f"{number}.jpg").touch()
    return root


def table(root: Path, text: str, name: str = "df.csv") -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    for line in text.splitlines()[1:]:
        if path := line.split(",")[0]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    return root


def test_images_by_class_and_parts_of_them():
    some = images([2, 0, 2, 0], cameras=(1, 2, 3, 4))
    assert len(some) == 4
    assert some.members == ((1, 3), (), (0, 2))
    assert some.present == (0, 2)
    taken = some.take([3, 0])
    assert (taken.labels, taken.cameras, taken.ids) == ((0, 2), (4, 1), ("3.jpg", "0.jpg"))
    assert taken.names == some.names
    classes = some.take_classes([2])
    assert (classes.labels, classes.names, classes.cameras) == ((0, 0), ("c",), (1, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: images([]), "no images"),
        (lambda: images([0, 3]), "labels must be 0 to 2"),
        (lambda: images([0, -1]), "labels must be 0 to 2"),
        (lambda: images([0, 1], cameras=(1,)), "as many labels"),
        (lambda: images([0, 1], names=("a", "a")), "class names must differ: a"),
        (lambda: images([0, 1]).take([0, 0, 1]), "1 images are listed more than once: 0.jpg"),
        (lambda: images([0, 1]).take([]), "no images"),
        (lambda: LabelledImages((Path("a"), Path("b")), (0, 0), ("x",), None, ("i", "i")), "1 ids are listed"),
    ],
)
def test_what_labelled_images_cannot_be(make, message):
    with pytest.raises(DataError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.floats(0.01, 0.99))
def test_held_out_classes_are_disjoint_and_complete(labels, share):
    every = images(labels, names=tuple("abcdefghij"))
    if len(every.present) < 2:
        with pytest.raises(DataError, match="one class"):
            hold_out_classes(every, share)
        return
    kept, held_out = hold_out_classes(every, share)
    assert not set(kept.names) & set(held_out.names)
    assert sorted(kept.ids + held_out.ids) == sorted(every.ids)
    for part in (kept, held_out):
        assert part.present == tuple(range(len(part.names)))
        for label, path in zip(part.labels, part.paths, strict=True):
            assert part.names[label] == every.names[every.labels[int(path.stem)]]
    assert abs(len(held_out.names) - share * len(every.present)) < 1 or len(held_out.names) == 1


def test_held_out_classes_lie_evenly():
    assert hold_out_classes(images(range(10), names=tuple("abcdefghij")), 0.2)[1].names == ("c", "h")


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_a_share_that_holds_out_nothing_or_all(share):
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        hold_out_classes(images([0, 1]), share)


def test_examples_are_three_on_one_line():
    assert examples(["a", "b", "c", "d"]) == "a, b, c, ..."
    assert examples(["a\nb"]) == "'a\\nb'"


NAMES = ("001.Albatross", "002.Auk", "010.Jay", "100.Tern", "101.Wren")


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (0.5, 2),
        (0.6, 3),
        (1.0, 5),
        (3, 3),
        (0, 0),
        (["001..010"], 3),
        (["001..009"], 2),
        (["0*"], 3),
        ("0*", 3),
        (["002.Auk", "001.Albatross"], 2),
        (("001.Albatross", "0[0-9]*", "100..100"), 4),
    ],
)
def test_choosing_classes(wanted, chosen):
    assert choose_classes(NAMES, wanted) == NAMES[:chosen]


@pytest.mark.parametrize("wanted", [1.5, -0.1, float("nan"), 6, -1, ["003.Owl"], ["9*"], ["500..600"], True, {"a": 1}])
def test_classes_that_cannot_be_chosen(wanted):
    with pytest.raises(ConfigError, match="train_classes"):
        choose_classes(NAMES, wanted)


def test_class_folders(tmp_path):
    root = folders(tmp_path / "set", c2=3, c10=1, c1=2, empty=0)
    (root / "c2" / "deep").mkdir()
    (root / "c2" / "deep" / "x.png").touch()
    (root / "c2" / "notes.txt").touch()
    (root / ".hidden").mkdir()
    (root / "df.csv").touch()
    train, test = load_folder(root, "train", train_classes=2), load_folder(root, "query", train_classes=2)
    assert train.names == ("c1", "c2")
    assert train.ids == ("c1/1.jpg", "c1/2.jpg", "c2/1.jpg", "c2/2.jpg", "c2/3.jpg", "c2/deep/x.png")
    assert train.labels == (0, 0, 1, 1, 1, 1)
    assert train.paths[0] == root / "c1" / "1.jpg"
    assert (test.names, test.labels, test.ids) == (("c10",), (0,), ("c10/1.jpg",))


def test_half_of_the_class_folders_are_trained_on(tmp_path):
    root = folders(tmp_path / "set", a=1, b=1, c=1, d=1)
    assert load_dataset("folder", root).names == ("a", "b")
    assert load_dataset("folder", root, "validation").names == ("c", "d")


@pytest.mark.parametrize(
    ("counts", "split", "wanted", "message"),
    [
        ({}, "train", 0.5, "no class folders with images"),
        ({"a": 0}, "train", 0.5, "no class folders with images"),
        ({"a": 1, "b": 1}, "train", 0.0, "split 'train' is empty: all 2 classes are left for testing"),
        ({"a": 1, "b": 1}, "test", 1.0, "split 'test' is empty: all 2 classes are trained on"),
        ({"train": 1, "val": 1}, "train", 0.5, "no classes; give the folder above the class folders"),
    ],
)
def test_class_folders_that_cannot_be(tmp_path, counts, split, wanted, message):
    with pytest.raises(DataError, match=message):
        load_folder(folders(tmp_path, **counts), split, train_classes=wanted)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(DataError, match="cannot be listed"):
        load_folder(tmp_path / "nowhere", "train")


FULL = """path,label,class_name,split,camera,is_query,is_gallery
x/1.jpg,10,ten,train,1,0,0
x/2.jpg,2,two,validation,1,1,0
x/3.jpg,2,two,val,2,0,1
x/4.jpg,3,three,test,2,1,1
"""


def test_a_whole_table(tmp_path):
    root = table(tmp_path, FULL)
    train, test = load_csv(root, "train"), load_csv(root, "test")
    assert (train.names, train.ids, train.cameras) == (("ten",), ("x/1.jpg",), (1,))
    assert (test.names, test.labels, test.cameras) == (("two", "three"), (0, 0, 1), (1, 2, 2))
    query, gallery = load_csv(root, "query"), load_csv(root / "df.csv", "gallery")
    assert (query.ids, gallery.ids) == (("x/2.jpg", "x/4.jpg"), ("x/3.jpg", "x/4.jpg"))
    assert query.names == gallery.names == test.names
    assert test.paths[0] == root / "x" / "2.jpg"


def test_a_table_of_paths_and_labels_alone(tmp_path):
    root = table(tmp_path, "path,label\na.jpg,b\nb.jpg,a\nc.jpg,b\n", "my.csv")
    assert load_csv(root, "train", split_file="my.csv").names == ("a",)
    every = load_csv(root, "train", split_file="my.csv", train_classes=1.0)
    assert (every.names, every.labels, every.cameras) == (("a", "b"), (1, 0, 1), None)
    test = load_csv(root, "query", split_file="my.csv")
    assert test.ids == ("a.jpg", "c.jpg")


def test_a_table_that_shares_out_class_folders(tmp_path):
    root = table(tmp_path, "path,split\nauk/a.jpg,train\njay/a.jpg,test\n", "split.csv")
    assert load_dataset("folder", root, "train", split_file="split.csv").names == ("auk",)
    assert load_dataset("folder", root, "validation", split_file="split.csv").names == ("jay",)


def test_spellings_of_a_camera_and_of_an_id_meet(tmp_path):
    lines = ["a.jpg,12.0,cam10", "b.jpg,12,1.0", "c.jpg,12,10", "d.jpg,0012,Gate A"]
    images = load_csv(table(tmp_path, "path,id,camera\n" + "\n".join(lines) + "\n"), "train", train_classes=1.0)
    assert images.cameras == (10, 1, 10, "Gate A")
    assert [images.names[label] for label in images.labels] == ["12", "12", "12", "0012"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path'"),
        ("file,label\na.jpg,1\n", "no column 'path', only file, label"),
        ("path,label\na.jpg,\n", "record 1: needs a path and a label"),
        ("path,split\na.jpg,train\n", "record 1: needs a path and a label"),
        ("path,label\na.jpg,1\n,1\n", "record 2: needs a path and a label"),
        ("path,label\na.jpg,1,2\n", "record 1: has more fields"),
        ("path,label,split\na.jpg,1,left\n", "record 1: unknown split 'left'"),
        ("path,label,split\na.jpg,1,train\nb.jpg,1,test\n", "1 classes are in train and in validation: 1"),
        ("path,label,class_name\na.jpg,1,x\nb.jpg,1,y\n", "record 2: class '1' is called 'y' here, and 'x' above"),
        ("path,label,class_name\na.jpg,1,x\nb.jpg,2,x\n", "two labels have one class_name"),
        ("path,label,camera,split\na.jpg,1,1,train\nb.jpg,1,,train\n", "record 2: has no camera"),
        ("path,label,split\na.jpg,1,test\n", "split 'train' of df.csv is empty"),
        ("path,label\n", "split 'train' of df.csv is empty"),
        ("path,label,split\na.jpg,1,train\na.jpg,1,train\n", "1 images are listed more than once"),
    ],
)
def test_tables_that_cannot_be(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        load_csv(table(tmp_path, text), "train")
    assert "\n" not in str(caught.value)


def test_bad_flags_and_bytes(tmp_path):
    root = table(tmp_path, "path,label,split,is_query\na.jpg,1,test,perhaps\n")
    with pytest.raises(DataError, match="record 1: is_query is 'perhaps'"):
        load_csv(root, "query")
    (root / "df.csv").write_bytes(b"path,label\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="no CSV table in UTF-8"):
        load_csv(root, "train")
    with pytest.raises(DataError, match="cannot be read"):
        load_csv(root, "train", split_file="other.csv")


def test_files_that_a_table_lists_and_the_folder_lacks(tmp_path):
    root = table(tmp_path, "path,label,split\n" + "".join(f"{i}.jpg,a,train\n" for i in range(6)))
    for number in range(5):
        (root / f"{number}.jpg").unlink()
    with pytest.raises(DataError, match=r"5 of 6 images .* are missing: 0\.jpg, 1\.jpg, 2\.jpg, \.\.\.; add them"):
        load_csv(root, "train")
    assert load_csv(root, "train", check_counts=False).ids == ("5.jpg",)
    (root / "5.jpg").unlink()
    with pytest.raises(DataError, match="none of the 6 images"):
        load_csv(root, "train", check_counts=False)


def test_holding_out_classes_of_the_training_part(tmp_path):
    root = folders(tmp_path, a=1, b=2, c=1, d=1, e=1, f=1)
    train = load_dataset("folder", root, "train", train_classes=4, holdout=0.25)
    validation = load_dataset("folder", root, "validation", train_classes=4, holdout=0.25)
    test = load_dataset("folder", root, "test", train_classes=4, holdout=0.25)
    assert (train.names, validation.names, test.names) == (("a", "b", "d"), ("c",), ("e", "f"))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("cubs", {}, r"unknown data set 'cubs' \(did you mean 'cub'\?\)"),
        ("folder", {"split": "tset"}, r"unknown split 'tset' \(did you mean 'test'\?\)"),
        ("folder", {"holdout": 1.0}, "hold out 1.0"),
        ("cub", {"train_classes": 3}, "has no option 'train_classes'"),
        ("market", {"boxes": "labeled"}, "has no option 'boxes'"),
        ("cuhk03", {"boxes": "drawn"}, "unknown boxes 'drawn'"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path, kind, options, message):
    with pytest.raises(ConfigError, match=message):
        load_dataset(kind, tmp_path, **options)


def test_a_split_column_and_train_classes_contradict(tmp_path):
    with pytest.raises(ConfigError, match="leave one of them out"):
        load_dataset("csv", table(tmp_path, FULL), train_classes=1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_that_a_folder_is_not_there(tmp_path, kind):
    with pytest.raises(DataError, match="nowhere") as caught:
        load_dataset(kind, tmp_path / "nowhere")
    assert "\n" not in str(caught.value)


@pytest.mark.realdata
def test_real_class_folders_and_tables(shared_data):
    birds = load_dataset("folder", shared_data / "cub200", "train", train_classes=100)
    cars = load_dataset("folder", shared_data / "cars196", "test", train_classes=["001..098"])
    assert len(birds.names) == 100
    assert len(birds) + len(load_dataset("folder", shared_data / "cub200", "test", train_classes=100)) == 4481
    assert (len(cars.names), cars.names[0]) == (49, "099.FIAT_500_Abarth_2012")
    for name in ("grocery", "caltech101"):
        for kind in ("folder", "csv"):
            for split in ("train", "validation", "query", "gallery"):
                part = load_dataset(kind, shared_data / name, split, split_file="df.csv")
                assert (len(part), len(part.present), part.cameras) == (400, 20, None)
