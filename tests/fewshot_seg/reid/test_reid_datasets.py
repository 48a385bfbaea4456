"""MSMT17, VeRi-776 and VehicleID in the layouts that their archives unpack to, and images named by a pattern."""

from __future__ import annotations

import pytest

from fewshot_seg.datasets import identities
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import ConfigError, DataError
from tests.fewshot_seg.datasets.test_published_datasets import touch


def write_lines(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_the_published_numbers():
    assert identities.MSMT17.images == {"train": 30248 + 2373, "query": 11659, "gallery": 82161}
    assert identities.VERI.images == {"train": 37778, "query": 1678, "gallery": 11579}
    assert identities.VEHICLEID.images["train"] + identities.VEHICLEID.images["13164"] == 221567, (
        "all images of the set"
    )


MSMT17 = {
    "list_train.txt": ["0000/0000_000_01_0303morning_0008_0.jpg 0", "0001/0001_000_13_0113noon_0004_1.jpg 1"],
    "list_val.txt": ["0000/0000_005_02_0303morning_0011_0.jpg 0"],
    "list_query.txt": ["0002/0002_010_04_0303morning_0008_0.jpg 2"],
    "list_gallery.txt": ["0002/0002_011_15_0302afternoon_0008_0.jpg 2", "0000/0000_000_01_0303morning_0015_0.jpg 0"],
}


def write_msmt17(root, train="train", test="test"):
    for name, lines in MSMT17.items():
        write_lines(root / name, *lines)
        inner = train if name in ("list_train.txt", "list_val.txt") else test
        touch(root, *(f"{inner}/{line.split()[0]}" for line in lines))
    return root


@pytest.mark.parametrize(
    ("inner", "folders"), [("MSMT17_V1", ("train", "test")), ("MSMT17_V2", ("mask_train_v2", "mask_test_v2"))]
)
def test_msmt17_in_both_versions(tmp_path, inner, folders):
    write_msmt17(tmp_path / inner, *folders)
    train, query, gallery, test = (
        load_dataset("msmt17", tmp_path, split, check_counts=False) for split in ("train", "query", "gallery", "test")
    )
    assert (train.names, train.labels, train.cameras) == (("0", "1"), (0, 1, 0), (1, 13, 2))
    assert query.names == gallery.names == test.names == ("0", "2")
    assert (query.labels, query.cameras, gallery.labels, gallery.cameras) == ((1,), (4,), (1, 0), (15, 1))
    assert test.ids == query.ids + gallery.ids
    assert query.ids == (f"{folders[1]}/0002/0002_010_04_0303morning_0008_0.jpg",)
    assert all(path.is_file() for part in (train, test) for path in part.paths)
    with pytest.raises(DataError, match="MSMT17 gallery has 2 images, published are 82161"):
        load_dataset("msmt17", tmp_path / inner, "gallery")


def test_msmt17_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match=r"there is no list_query\.txt in it"):
        load_dataset("msmt17", tmp_path, "query")
    write_msmt17(tmp_path)
    (tmp_path / "train" / "0000" / "0000_005_02_0303morning_0011_0.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images of MSMT17 train are missing: train/0000/0000_005_02"):
        load_dataset("msmt17", tmp_path, "train")
    write_lines(tmp_path / "list_query.txt", "0002/person.jpg 2")
    with pytest.raises(DataError, match=r"list_query\.txt: 0002/person\.jpg does not tell its camera"):
        load_dataset("msmt17", tmp_path, "query", check_counts=False)
    write_lines(tmp_path / "list_query.txt", "0002/0002_010_04_0303morning_0008_0.jpg")
    with pytest.raises(DataError, match=r"list_query\.txt:1: has 1 fields, not 2"):
        load_dataset("msmt17", tmp_path, "query", check_counts=False)
    (tmp_path / "test").rename(tmp_path / "tests")
    with pytest.raises(DataError, match="there is no test or mask_test_v2 in it"):
        load_dataset("msmt17", tmp_path, "query", check_counts=False)


VERI = {
    "image_train": ["0001_c001_00016450_0.jpg", "0003_c020_00016460_0.jpg"],
    "image_query": ["0002_c002_00030600_0.jpg"],
    "image_test": ["0002_c002_00030605_1.jpg", "0005_c001_00000001_0.jpg", "0002_c014_00030600_0.jpg"],
}


def write_veri(root):
    lists = {"image_train": "name_train.txt", "image_query": "name_query.txt", "image_test": "name_test.txt"}
    for folder, names in VERI.items():
        write_lines(root / lists[folder], *names)
        touch(root, *(f"{folder}/{name}" for name in names))
    return root


def test_veri_in_its_layout(tmp_path):
    write_veri(tmp_path / "VeRi")
    train, query, gallery, test = (
        load_dataset("veri", tmp_path, split, check_counts=False) for split in ("train", "query", "gallery", "test")
    )
    assert (train.names, train.labels, train.cameras) == (("0001", "0003"), (0, 1), (1, 20))
    assert query.names == gallery.names == test.names == ("0002", "0005")
    assert (query.labels, query.cameras) == ((0,), (2,))
    assert (gallery.labels, gallery.cameras) == ((0, 1, 0), (2, 1, 14))
    assert test.ids == query.ids + gallery.ids
    assert all(path.is_file() for path in test.paths)
    with pytest.raises(DataError, match="VeRi-776 query has 1 images, published are 1678"):
        load_dataset("veri", tmp_path / "VeRi", "query")


def test_veri_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match=r"there is no name_query\.txt in it"):
        load_dataset("veri", tmp_path, "query")
    write_veri(tmp_path)
    (tmp_path / "image_query" / VERI["image_query"][0]).unlink()
    with pytest.raises(DataError, match=r"1 of 1 images of VeRi-776 query are missing: image_query/0002_c002"):
        load_dataset("veri", tmp_path, "query")
    write_lines(tmp_path / "name_train.txt", "car.jpg", "0001-c1.jpg")
    with pytest.raises(
        DataError, match=r"2 names do not begin as 0001_c001_ does, identity and camera: car\.jpg, 0001-c1\.jpg"
    ):
        load_dataset("veri", tmp_path, "train", check_counts=False)


def write_vehicleid(root):
    lists = {"train_list": ["1234 7", "55 7", "6 8"], "test_list_800": ["9 100", "10 100", "11 20"]}
    for name, lines in lists.items():
        write_lines(root / "train_test_split" / f"{name}.txt", *lines)
        touch(root, *(f"image/{line.split()[0]}.jpg" for line in lines))
    return root


def test_vehicleid_in_its_layout(tmp_path):
    write_vehicleid(tmp_path / "VehicleID_V1.0")
    train = load_dataset("vehicleid", tmp_path, "train", check_counts=False)
    assert (train.names, train.labels, train.ids[0]) == (("7", "8"), (0, 0, 1), "image/1234.jpg")
    query, gallery = (load_dataset("vehicleid", tmp_path, part, check_counts=False) for part in ("query", "gallery"))
    assert query == gallery
    assert (query.names, query.labels, query.cameras) == (("20", "100"), (1, 1, 0), None)
    with pytest.raises(DataError, match=r"VehicleID query \(800 vehicles\) has 3 images, published are 6493"):
        load_dataset("vehicleid", tmp_path / "VehicleID_V1.0", "query")
    with pytest.raises(DataError, match=r"test_list_2400\.txt: cannot be read"):
        load_dataset("vehicleid", tmp_path, "test", vehicles=2400)
    with pytest.raises(ConfigError, match="no test list of 801 vehicles: choose 800, 1600"):
        load_dataset("vehicleid", tmp_path, "test", vehicles=801)
    with pytest.raises(DataError, match="there is no train_test_split in it"):
        load_dataset("vehicleid", tmp_path / "VehicleID_V1.0" / "image", "test")


NAMES = ["train/bus_0001_cam1.jpg", "train/bus_0001_cam2.jpg", "train/car_0002_cam1.jpg", "train/car_0002_cam2.jpg"]


def test_file_names_that_tell_identity_and_camera(tmp_path):
    touch(tmp_path, *NAMES)
    train, test = (load_dataset("named", tmp_path, split) for split in ("train", "test"))
    assert (train.names, train.labels, train.cameras) == (("bus_0001",), (0, 0), (1, 2))
    assert (test.names, test.ids) == (("car_0002",), tuple(NAMES[2:]))
    everything = load_dataset("named", tmp_path, "test", train_classes=0)
    assert (everything.names, everything.cameras) == (("bus_0001", "car_0002"), (1, 2, 1, 2))
    kinds = load_dataset("named", tmp_path, "test", pattern=r"(?P<id>[a-z]+)_\d+_cam\d", train_classes=0)
    assert (kinds.names, kinds.labels, kinds.cameras) == (("bus", "car"), (0, 0, 1, 1), None)


def test_names_that_a_pattern_does_not_fit(tmp_path):
    touch(tmp_path, *NAMES, "train/readme.jpg")
    with pytest.raises(DataError, match=r"1 paths do not fit the pattern .*: train/readme\.jpg"):
        load_dataset("named", tmp_path, "test")
    assert len(load_dataset("named", tmp_path, "test", train_classes=0, check_counts=False)) == 4
    with pytest.raises(DataError, match="5 paths do not fit"):
        load_dataset("named", tmp_path, "test", pattern="(?P<id>nobody)", check_counts=False)
    for pattern, message in (("(", "no regular expression"), ("(.*)", r"no group \(\?P<id>")):
        with pytest.raises(ConfigError, match=message):
            load_dataset("named", tmp_path, "test", pattern=pattern)
    with pytest.raises(ConfigError, match="kind 'named' has no option 'boxes'"):
        load_dataset("named", tmp_path, "test", boxes="detected")


def test_a_table_of_paths_ids_and_cameras(tmp_path):
    touch(tmp_path, *NAMES)
    lines = [f"{name},{name.split('/')[1].split('_cam')[0]},{name[-5]}" for name in NAMES]
    write_lines(tmp_path / "df.csv", "path,id,camera", *lines)
    test = load_dataset("csv", tmp_path, "test", train_classes=0)
    assert (test.names, test.labels, test.cameras) == (("bus_0001", "car_0002"), (0, 0, 1, 1), (1, 2, 1, 2))
    assert load_dataset("csv", tmp_path, "train").names == ("bus_0001",)


@pytest.mark.realdata
def test_real_vehicles_by_their_names(shared_data):
    vehicles = load_dataset("named", shared_data / "vehicle_reid", "test", train_classes=0)
    assert (len(vehicles), len(vehicles.names), set(vehicles.cameras)) == (1014, 507, {1, 2})
    assert {len(members) for members in vehicles.members} == {2}
