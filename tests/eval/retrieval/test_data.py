"""Which images ask, which are asked for, and where a query's own place is."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.retrieval.data import Choice, open_images
from fewshot_seg.errors import ConfigError, DataError
from tests.eval.retrieval.files import make_folders
from tests.fewshot_seg.datasets.test_published_datasets import GARMENTS, write_inshop


def test_every_image_of_class_folders_asks_and_is_asked_for(tmp_path: Path) -> None:
    found = open_images(Choice("folder", make_folders(tmp_path)))
    assert found.images.names == ("04.kind", "05.kind", "06.kind")  # the second half
    assert found.queries.tolist() == found.gallery.tolist() == found.own.tolist() == list(range(15))
    assert found.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ("2-3", ("02.kind", "03.kind")),
        ("6-6", ("06.kind",)),
        ("02.kind,05*", ("02.kind", "05.kind")),
        ("04..05", ("04.kind", "05.kind")),
    ],
)
def test_classes_by_position_and_name(tmp_path: Path, classes: str, names: tuple[str, ...]) -> None:
    assert open_images(Choice("folder", make_folders(tmp_path), classes=classes)).images.names == names


def test_training_classes_ask_within_themselves(tmp_path: Path) -> None:
    found = open_images(Choice("folder", make_folders(tmp_path), "train"))
    assert found.images.names == ("01.kind", "02.kind", "03.kind")


def test_inshop_queries_are_not_in_the_gallery(tmp_path: Path) -> None:
    found = open_images(Choice("inshop", write_inshop(tmp_path, GARMENTS), allow_missing=True))
    assert (len(found.images), found.queries.tolist(), found.gallery.tolist()) == (3, [2], [0, 1])
    assert found.own.tolist() == [-1]
    assert found.labels[found.queries].tolist() == [0]


def test_a_table_says_who_asks(tmp_path: Path) -> None:
    make_folders(tmp_path, 2, 3)
    rows = [f"{kind}.kind/{n}.png,{kind},test,{int(n < 2)},{int(n > 0)}" for kind in ("01", "02") for n in range(3)]
    (tmp_path / "df.csv").write_text("\n".join(["path,label,split,is_query,is_gallery", *rows]))
    found = open_images(Choice("csv", tmp_path))
    ids = found.images.ids
    assert [ids[place] for place in found.gallery] == [
        "01.kind/1.png",
        "01.kind/2.png",
        "02.kind/1.png",
        "02.kind/2.png",
    ]
    assert [ids[place] for place in found.queries] == [
        "01.kind/0.png",
        "01.kind/1.png",
        "02.kind/0.png",
        "02.kind/1.png",
    ]
    assert found.own.tolist() == [-1, 0, -1, 2]  # by the id, wherever the image stands


def test_the_digest_tells_other_images_and_classes(tmp_path: Path) -> None:
    root = make_folders(tmp_path)
    one, other = (open_images(Choice("folder", root, classes=classes)).digest for classes in ("1-2", "1-3"))
    assert one == open_images(Choice("folder", root, classes="01..02")).digest != other


def test_images_left_out_keep_the_others_places(tmp_path: Path) -> None:
    found = open_images(Choice("folder", make_folders(tmp_path, 2, 3), classes="1-2"))
    kept = found.without({0, 4})
    assert kept.queries.tolist() == [1, 2, 3, 5]
    assert kept.own.tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="can be read"):
        found.without(set(range(6)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "birds"}, "unknown data set 'birds': choose cub"),
        ({"split": "later"}, "unknown split 'later'"),
        ({"dataset": "cub", "classes": "1-2"}, "other sets have their own splits"),
        ({"classes": "3-7"}, "classes 3-7: there are class folders 1 to 6"),
        ({"classes": "0-2"}, "there are class folders 1 to 6"),
        ({"classes": "nothing"}, "no class has this name"),
    ],
)
def test_what_cannot_be(tmp_path: Path, values: dict[str, str], message: str) -> None:
    root = make_folders(tmp_path, each=1)
    with pytest.raises(ConfigError, match=message):
        open_images(Choice(**{"dataset": "folder", "root": root, **values}))  # type: ignore[arg-type]


def test_one_image_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two images"):
        open_images(Choice("folder", make_folders(tmp_path, 2, 1), classes="1-1"))
