"""Vehicles by identity: VeRi-776, with cameras, and PKU VehicleID, which tells none.

`root` is the folder that the archive unpacks to, or the one that holds it; `check_counts` refuses a set that isn't
complete.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages, examples
from fewshot_seg.datasets.published import Row, data_folder, labelled, load_parts, read_fields
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.imaging.find import natural_key

# Liu et al., ECCV 2016: 576 vehicles to train on, 200 to test with, 20 cameras; three lists say which.
VERI_IMAGES: Final = {"train": 37778, "query": 1678, "gallery": 11579}
_VERI_PARTS: Final = {"train": "train", "query": "query", "gallery": "test"}  # as folders and lists call them
_VERI_INNER: Final = ("VeRi", "VeRi_with_plate", "VeRi-776", "veri")
_VERI_LAYOUT: Final = (
    "VeRi/{name_train.txt, name_query.txt, name_test.txt, image_train, image_query, image_test/NAME.jpg}"
)
_VERI_NAME: Final = re.compile(r"(?P<identity>[0-9]+)_c(?P<camera>[0-9]+)_[^/]*")

# Liu et al., CVPR 2016: 13,164 vehicles to train on, as many to test with.
VEHICLEID_IMAGES: Final = {"train": 113346, 800: 6493, 1600: 13377, 2400: 19777, 13164: 108221}
SIZES: Final = (800, 1600, 2400, 3200, 6000, 13164)
"""VehicleID's test lists, by how many vehicles they hold; the first three are what papers report."""
_VEHICLEID_INNER: Final = ("VehicleID_V1.0", "VehicleID", "vehicleid")
_VEHICLEID_LAYOUT: Final = (
    "VehicleID_V1.0/{image/NUMBER.jpg, train_test_split/{train_list.txt, test_list_800.txt, ...}}"
)
_VEHICLEID_LISTS: Final = "train_test_split"


def veri(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of VeRi-776: "train", "query", "gallery", or "test": query and gallery together, which share names.

    Vehicle and camera are told by a file's name, as in 0001_c001_00016450_0.jpg. What jk_index.txt calls junk, the
    same vehicle in the query's camera, is what Market-1501's rules leave out, so that list isn't read.

    Raises:
        DataError: another layout, names that hold no vehicle and camera, or images missing.
    """
    folder = data_folder(root, "name_query.txt", _VERI_INNER, _VERI_LAYOUT)

    def rows(part: str) -> list[Row]:
        path = folder / f"name_{_VERI_PARTS[part]}.txt"
        found = [(name, _VERI_NAME.fullmatch(name)) for (name,) in read_fields(path, 1)]
        if odd := [name for name, match in found if match is None]:
            raise DataError(f"{describe(path)}: {len(odd)} names do not begin as 0001_c001_ does: {examples(odd)}")
        inner = f"image_{_VERI_PARTS[part]}"
        return [Row(f"{inner}/{name}", match["identity"], int(match["camera"])) for name, match in found if match]

    return load_parts(folder, rows, split, what="VeRi-776", published=VERI_IMAGES, check_counts=check_counts)


def vehicleid(root: Path, split: str, *, vehicles: int = 800, check_counts: bool = True) -> LabelledImages:
    """The images of train_list.txt ("train") or of VehicleID's test list of so many `vehicles`, one of `SIZES`.

    The benchmark draws one image of each test vehicle as the gallery and asks with all others
    (`fewshot_seg.reid.rules.one_each`), so "test", "query" and "gallery" are the same images here. How many images the
    lists of 3,200 and 6,000 vehicles have is nowhere published, so of these only the files are checked.

    Raises:
        ConfigError: no such test list. DataError: another layout, or images missing.
    """
    if vehicles not in SIZES:
        raise ConfigError(f"VehicleID has no test list of {vehicles!r} vehicles: choose {', '.join(map(str, SIZES))}")
    folder = data_folder(root, _VEHICLEID_LISTS, _VEHICLEID_INNER, _VEHICLEID_LAYOUT)
    is_train = split == "train"
    path = folder / _VEHICLEID_LISTS / ("train_list.txt" if is_train else f"test_list_{vehicles}.txt")
    rows = [Row(f"image/{image}.jpg", vehicle) for image, vehicle in read_fields(path, 2)]
    return labelled(
        folder,
        rows,
        sorted({row.name for row in rows}, key=natural_key),
        what=f"VehicleID {split}" if is_train else f"VehicleID {split} ({vehicles} vehicles)",
        published=VEHICLEID_IMAGES.get("train" if is_train else vehicles),
        check_counts=check_counts,
    )
