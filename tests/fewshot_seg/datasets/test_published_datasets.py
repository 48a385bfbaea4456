"""The published sets in the layouts that their archives unpack to, whole and with parts missing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from fewshot_seg.datasets import identities, products, registry
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for folder in {(root / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.close(os.open(f"{root}/{name}", os.O_CREAT | os.O_WRONLY))  # fast, for there are thousands
    return root


def write_cub(root: Path, images: dict[str, int], on_disk: Iterable[str] | None = None) -> Path:
    """The archive with image paths (CLASS/NAME.jpg) and their class numbers; all are there, or `on_disk`."""
    folder = root / "CUB_200_2011"
    touch(folder, *(f"images/{path}" for path in (images if on_disk is None else on_disk)))
    lists = {
        "images.txt": [f"{i} {path}" for i, path in enumerate(images, 1)],
        "image_class_labels.txt": [f"{i} {number}" for i, number in enumerate(images.values(), 1)],
        "classes.txt": [f"{n} {n:03d}.Bird_{n}" for n in range(1, 201)],
    }
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return root


def annotations(field: str, images: dict[str, int]) -> np.ndarray:
    records = np.zeros((1, len(images)), dtype=[(field, object), ("bbox_x1", object), ("class", object)])
    for place, (path, number) in enumerate(images.items()):
        records[0, place] = (path, 1, number)
    return records


def write_cars(folder: Path, images: dict[str, int], titles: list[str]) -> Path:
    touch(folder, *images)
    names = np.array(titles, dtype=object)[None]
    savemat(folder / "cars_annos.mat", {"annotations": annotations("relative_im_path", images), "class_names": names})
    return folder


def write_cars_in_parts(folder: Path, train: dict[str, int], test: dict[str, int], titles: list[str]) -> Path:
    touch(folder, *(f"cars_train/{name}" for name in train), *(f"cars_test/{name}" for name in test))
    (folder / "devkit").mkdir()
    savemat(folder / "devkit" / "cars_train_annos.mat", {"annotations": annotations("fname", train)})
    savemat(folder / "cars_test_annos_withlabels.mat", {"annotations": annotations("fname", test)})
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": np.array(titles, dtype=object)[None]})
    return folder


def write_reid(folder: Path, train: list[str], query: list[str], gallery: list[str]) -> Path:
    for name, files in (("bounding_box_train", train), ("query", query), ("bounding_box_test", gallery)):
        (folder / name).mkdir(parents=True)
        touch(folder / name, *files, "Thumbs.db")
    return folder


BIRDS = {"001.Bird_1/a.jpg": 1, "100.Bird_100/b.jpg": 100, "101.Bird_101/c.jpg": 101, "200.Bird_200/d.jpg": 200}
TITLES = [f"Car {number}" for number in range(1, 197)]
CARS = {"car_ims/000001.jpg": 1, "car_ims/000002.jpg": 98, "car_ims/000003.jpg": 99, "car_ims/000004.jpg": 196}


def test_the_published_numbers():
    assert (products.CUB.images["train"], products.CUB.images["test"]) == (5864, 5924)
    assert sum(products.CUB.images.values()) == 11788
    assert (products.CARS.images["train"], products.CARS.images["test"]) == (8054, 8131)
    assert (products.SOP.images["train"], products.SOP.images["test"]) == (59551, 60502)
    assert products.INSHOP.images == {"train": 25882, "query": 14218, "gallery": 12612}
    assert sum(products.INSHOP.images.values()) == 52712
    assert identities.MARKET.images == {"train": 12936, "query": 3368, "gallery": 19732 - 3819}
    assert identities.DUKE.images == {"train": 16522, "query": 2228, "gallery": 17661}
    assert identities.CUHK03["detected"].images == {"train": 7365, "query": 1400, "gallery": 5332}
    assert identities.CUHK03["labeled"].images == {"train": 7368, "query": 1400, "gallery": 5328}


def test_cub(tmp_path):
    root = write_cub(tmp_path, BIRDS)
    train = products.cub(root, "train", check_counts=False)
    assert (len(train.names), train.names[0], train.names[-1]) == (100, "001.Bird_1", "100.Bird_100")
    assert (train.labels, train.ids) == ((0, 99), ("images/001.Bird_1/a.jpg", "images/100.Bird_100/b.jpg"))
    assert all(path.is_file() for path in train.paths)
    for split in ("test", "query", "gallery", "validation"):
        test = load_dataset("cub", root / "CUB_200_2011", split, check_counts=False)
        assert (test.labels, test.names[0], len(test.names)) == ((0, 99), "101.Bird_101", 100)


def test_a_whole_cub_passes_and_one_that_lacks_files_says_which(tmp_path):
    train = {f"{1 + i % 100:03d}.B/{i}.jpg": 1 + i % 100 for i in range(5864)}
    test = {f"101.B/{i}.jpg": 101 for i in range(5924)}
    root = write_cub(tmp_path, train | test, on_disk=[*train, "101.B/2.jpg"])
    assert len(load_dataset("cub", root, "train")) == 5864
    message = (
        r"5923 of 5924 images of CUB-200-2011 test are missing: images/101\.B/0\.jpg, .*/1\.jpg, .*/3\.jpg, \.\.\.;"
    )
    with pytest.raises(DataError, match=message):
        load_dataset("cub", root, "test")
    assert load_dataset("cub", root, "test", check_counts=False).ids == ("images/101.B/2.jpg",)


def test_a_list_of_another_length_is_not_the_published_set(tmp_path):
    with pytest.raises(DataError, match=r"CUB-200-2011 train has 2 images, published are 5864"):
        products.cub(write_cub(tmp_path, BIRDS), "train")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("image_class_labels.txt", "1\n", "image_class_labels.txt:1: has 1 fields, not 2"),
        ("image_class_labels.txt", "1 x\n", "has no class number"),
        ("image_class_labels.txt", "1 201\n", "image 1 of class 201 is not in"),
        ("image_class_labels.txt", "9 1\n", "image 9 of class 1 is not in"),
        ("image_class_labels.txt", "", "is empty"),
        ("classes.txt", "x y\n", "has no class number"),
        ("classes.txt", None, "classes.txt: cannot be read"),
    ],
)
def test_damaged_lists_of_cub(tmp_path, name, text, message):
    root = write_cub(tmp_path, BIRDS)
    (root / "CUB_200_2011" / name).unlink()
    if text is not None:
        (root / "CUB_200_2011" / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        products.cub(root, "train", check_counts=False)
    assert "\n" not in str(caught.value)


def test_class_folders_are_not_cub(tmp_path):
    with pytest.raises(DataError, match=r"there is no images\.txt in it.*the kind is folder"):
        products.cub(touch(tmp_path, "001.Bird/a.jpg"), "train")


def test_cars_with_one_file_of_annotations(tmp_path):
    root = write_cars(tmp_path, CARS, TITLES)
    train, test = (products.cars(root, split, check_counts=False) for split in ("train", "test"))
    assert (train.labels, train.names[97], train.ids[1]) == ((0, 97), "098.Car 98", "car_ims/000002.jpg")
    assert (test.labels, test.names[0], len(test.names)) == ((0, 97), "099.Car 99", 98)
    (root / "car_ims" / "000001.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images of Cars-196 train are missing: car_ims/000001\.jpg"):
        products.cars(root, "train")


def test_cars_in_the_devkits_parts(tmp_path):
    """Both parts of the classification task hold all classes; only the class decides."""
    write_cars_in_parts(tmp_path / "stanford_cars", {"1.jpg": 1, "2.jpg": 196}, {"1.jpg": 98, "2.jpg": 99}, TITLES)
    train, test = (products.cars(tmp_path, split, check_counts=False) for split in ("train", "test"))
    assert (train.ids, train.labels) == (("cars_train/1.jpg", "cars_test/1.jpg"), (0, 97))
    assert (test.ids, test.labels) == (("cars_train/2.jpg", "cars_test/2.jpg"), (97, 0))


def test_cars_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match=r"there is no cars_annos\.mat or .* in it"):
        products.cars(tmp_path, "train")
    (tmp_path / "cars_annos.mat").write_bytes(b"not MATLAB's" * 50)
    with pytest.raises(DataError, match="no readable MATLAB file"):
        products.cars(tmp_path, "train")
    savemat(tmp_path / "cars_annos.mat", {"class_names": np.array(["a"], dtype=object)})
    with pytest.raises(DataError, match="no 'relative_im_path'"):
        products.cars(tmp_path, "train")
    savemat(tmp_path / "cars_annos.mat", {"annotations": annotations("relative_im_path", CARS)})
    with pytest.raises(DataError, match="no class_names"):
        products.cars(tmp_path, "train")
    write_cars(tmp_path, CARS, TITLES[:98])
    with pytest.raises(DataError, match="is of class 99, but 98 classes are named"):
        products.cars(tmp_path, "train")
    write_cars_in_parts(tmp_path / "parts", {"1.jpg": 1}, {"2.jpg": 1}, TITLES)
    (tmp_path / "cars_annos.mat").rename(tmp_path / "parts" / "devkit" / "cars_train_annos.mat")
    with pytest.raises(DataError, match="annotations have no 'fname'"):
        products.cars(tmp_path / "parts", "train")
    (tmp_path / "parts" / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(DataError, match="there is no cars_test_annos_withlabels"):
        products.cars(tmp_path / "parts", "train")


def test_sop(tmp_path):
    folder = tmp_path / "Stanford_Online_Products"
    touch(folder, "bicycle_final/1_0.JPG", "bicycle_final/1_1.JPG", "sofa_final/9_0.JPG")
    header = "image_id class_id super_class_id path\n"
    (folder / "Ebay_train.txt").write_text(header + "1 1 1 bicycle_final/1_0.JPG\n2 1 1 bicycle_final/1_1.JPG\n")
    (folder / "Ebay_test.txt").write_text(header + "3 11319 11 sofa_final/9_0.JPG\n")
    train, test = (products.sop(tmp_path, split, check_counts=False) for split in ("train", "gallery"))
    assert (train.names, train.labels) == (("1",), (0, 0))
    assert (test.names, test.ids) == (("11319",), ("sofa_final/9_0.JPG",))
    with pytest.raises(DataError, match="test has 1 images, published are 60502"):
        load_dataset("sop", folder, "test")


MARKET = (
    ["0002_c1s1_000451_03.jpg", "0007_c3s3_1_1.jpg", "0002_c6s1_5_1.jpg"],
    ["0010_c2s1_1_1.jpg", "0003_c1s1_1_1.jpg"],
    ["-1_c1s1_401_03.jpg", "0000_c4s1_1_1.jpg", "0003_c5s1_1_1.jpg", "0010_c6s2_1_1.jpg"],
)


def test_market_in_its_layout(tmp_path):
    write_reid(tmp_path / "Market-1501-v15.09.15", *MARKET)
    train, query, gallery, test = (
        load_dataset("market", tmp_path, split, check_counts=False) for split in ("train", "query", "gallery", "test")
    )
    assert (train.names, train.labels, train.cameras) == (("0002", "0007"), (0, 0, 1), (1, 6, 3))
    assert query.names == gallery.names == test.names == ("0000", "0003", "0010")
    assert (query.labels, query.cameras) == ((1, 2), (1, 2))
    assert (gallery.labels, gallery.cameras) == ((0, 1, 2), (4, 5, 6)), "junk is left out, distractors are not"
    assert test.ids == query.ids + gallery.ids
    assert query.ids[0] == "query/0003_c1s1_1_1.jpg"
    with pytest.raises(DataError, match="Market-1501 gallery has 3 images, published are 15913"):
        load_dataset("market", tmp_path, "gallery")


def test_duke_in_its_layout(tmp_path):
    names = ["0005_c2_f0046985.jpg", "0005_c8_f1.jpg"]
    write_reid(tmp_path / "DukeMTMC-reID", names, [f"{i:04d}_c1_f1.jpg" for i in range(2228)], names)
    assert load_dataset("duke", tmp_path, "train", check_counts=False).cameras == (2, 8)
    assert len(load_dataset("duke", tmp_path, "query")) == 2228
    with pytest.raises(DataError, match="DukeMTMC-reID train has 2 images"):
        load_dataset("duke", tmp_path, "train")


@pytest.mark.parametrize("boxes", ["detected", "labeled"])
def test_cuhk03_in_its_layout(tmp_path, boxes):
    names = ["0001_c1_1.png", "0001_c2_6.png"]
    queries = [f"{i:04d}_c{c}_1.png" for i in range(700) for c in (1, 2)]
    write_reid(tmp_path / "cuhk03-np" / boxes, names, queries, names)
    given = None if boxes == "detected" else boxes
    train = load_dataset("cuhk03", tmp_path, "train", boxes=given, check_counts=False)
    assert (train.names, train.cameras) == (("0001",), (1, 2))
    assert len(load_dataset("cuhk03", tmp_path / "cuhk03-np", "query", boxes=given)) == 1400
    with pytest.raises(DataError, match=rf"CUHK03-NP \({boxes}\) gallery has 2 images, published are 53"):
        load_dataset("cuhk03", tmp_path, "gallery", boxes=given)


def test_reid_folders_that_cannot_be(tmp_path):
    write_reid(tmp_path, ["person.jpg", "0001-c1.jpg"], [], ["0001_c1_1.jpg"])
    with pytest.raises(DataError, match=r"2 names do not begin as 0002_c1 does.*: 0001-c1\.jpg, person\.jpg"):
        load_dataset("market", tmp_path, "train")
    with pytest.raises(DataError, match="Market-1501 query is empty"):
        load_dataset("market", tmp_path, "query")
    (tmp_path / "query" / "Thumbs.db").unlink()
    (tmp_path / "query").rmdir()
    with pytest.raises(DataError, match="query: the folder cannot be listed"):
        load_dataset("market", tmp_path, "gallery")


def test_every_kind_of_set_is_tested_here_or_beside():
    elsewhere = {"msmt17", "veri", "vehicleid", "named"}  # re-identification's
    tested = {"cub", "cars", "sop", "inshop", "market", "duke", "cuhk03"} | elsewhere
    assert set(registry.KINDS) == tested | {"folder", "csv"}


@pytest.mark.realdata
def test_a_real_set_in_markets_layout(shared_data):
    root = shared_data / "pku_reid_market"
    parts = {s: load_dataset("market", root, s, check_counts=False) for s in ("train", "query", "gallery", "test")}
    assert [len(part) for part in parts.values()] == [672, 64, 448, 512]
    assert [len(part.present) for part in parts.values()] == [42, 32, 32, 32]
    for split, part in parts.items():
        assert set(part.cameras) == {1, 2}
        table = load_dataset("csv", root, split)
        assert {*zip(part.paths, part.cameras, strict=True)} == {*zip(table.paths, table.cameras, strict=True)}
    with pytest.raises(DataError, match="Market-1501 train has 672 images, published are 12936"):
        load_dataset("market", root, "train")


GARMENTS = {
    "img/WOMEN/Dresses/id_00000001/02_1_front.jpg": ("id_00000001", "train"),
    "img/WOMEN/Dresses/id_00000002/02_1_front.jpg": ("id_00000002", "query"),
    "img/WOMEN/Dresses/id_00000002/02_3_back.jpg": ("id_00000002", "gallery"),
    "img/MEN/Denim/id_00000080/01_1_front.jpg": ("id_00000080", "gallery"),
}


def write_inshop(
    root: Path, garments: dict[str, tuple[str, str]], evaluation: str = "Eval", images: str = "Img"
) -> Path:
    """The benchmark as its archives unpack to; columns are padded with blanks, as in the published list."""
    folder = root / "In-shop Clothes Retrieval Benchmark"
    touch(folder / images, *garments)
    (folder / evaluation).mkdir(exist_ok=True)
    lines = [f"{path:<70} {item} {part}" for path, (item, part) in garments.items()]
    text = "\n".join([str(len(garments)), "image_name item_id evaluation_status", *lines])
    (folder / evaluation / "list_eval_partition.txt").write_text(text + "\n")
    return root


@pytest.mark.parametrize(("evaluation", "images"), [("Eval", "Img"), (".", "."), ("Eval", ".")])
def test_inshop(tmp_path, evaluation, images):
    root = write_inshop(tmp_path, GARMENTS, evaluation, images)
    query, gallery = (load_dataset("inshop", root, part, check_counts=False) for part in ("query", "gallery"))
    assert query.names == gallery.names == ("id_00000002", "id_00000080")
    assert (query.labels, gallery.labels) == ((0,), (0, 1))
    assert all(path.is_file() for path in query.paths + gallery.paths)
    inner = root / "In-shop Clothes Retrieval Benchmark"
    assert load_dataset("inshop", inner, "test", check_counts=False).labels == (0, 0, 1)
    train = load_dataset("inshop", inner, "train", check_counts=False)
    assert (train.names, len(train)) == (("id_00000001",), 1)


def test_an_incomplete_inshop(tmp_path):
    root = write_inshop(tmp_path, GARMENTS)
    with pytest.raises(DataError, match="In-Shop query has 1 images, published are 14218"):
        load_dataset("inshop", root, "query")
    path = next(iter(GARMENTS))
    (root / "In-shop Clothes Retrieval Benchmark" / "Img" / path).unlink()
    with pytest.raises(DataError, match=r"1 of 1 images of In-Shop train are missing: .*02_1_front"):
        load_dataset("inshop", root, "train")
    write_inshop(tmp_path, {path: ("id_00000001", "validation")})
    with pytest.raises(DataError, match="is in part 'validation', not in train, query or gallery"):
        load_dataset("inshop", root, "train", check_counts=False)
