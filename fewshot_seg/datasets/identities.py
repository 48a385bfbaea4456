"""People and vehicles by identity: Market-1501, DukeMTMC-reID, CUHK03-NP, MSMT17, VeRi-776 and PKU VehicleID.

The first three have the layout that Market-1501 gave to re-identification: three folders, identity and camera in each
file's name. A class is a person or a vehicle. Of every set there are "train", "query", "gallery", and "test": query
and gallery together. The last three share their class names, so that labels can be compared. `root` is the folder that
the archive unpacks to, or the one that holds it; `check_counts` refuses a set that isn't complete. All raise a
DataError for another layout, names that do not tell what they should, or images missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages, examples
from fewshot_seg.datasets.published import PublishedSet, Row, labelled, read_fields
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.imaging.find import natural_key

FOLDERS: Final = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
JUNK: Final = "-1"
"""The identity of detections that are nobody: they count neither for nor against, and are left out."""

_NAME: Final = re.compile(r"(?P<identity>-1|[0-9]+)_c(?P<camera>[0-9]+)[^/]*")
_SUFFIXES: Final = (".jpg", ".jpeg", ".png")


def _in_market_layout(title: str, inner: tuple[str, ...], train: int, query: int, gallery: int) -> PublishedSet:
    layout = f"{inner[0]}/{{bounding_box_train, query, bounding_box_test}}/ID_cCAMERA....jpg"
    return PublishedSet(title, {"train": train, "query": query, "gallery": gallery}, (FOLDERS["train"],), inner, layout)


# Zheng et al., 2015: 751 people to train on, 750 to test with, 6 cameras. bounding_box_test has 19,732 files; 3,819 of
# them are junk (identity -1). Identity 0000, the distractors, stays.
MARKET: Final = _in_market_layout(
    "Market-1501", ("Market-1501-v15.09.15", "Market-1501", "market1501"), 12936, 3368, 15913
)
# Ristani et al., 2016; Zheng et al., 2017: 702 people to train on, 702 to test with, 8 cameras. The gallery has 408
# people more, who come up under one camera only.
DUKE: Final = _in_market_layout("DukeMTMC-reID", ("DukeMTMC-reID", "dukemtmc-reid", "dukemtmcreid"), 16522, 2228, 17661)
# Li et al., 2014; protocol of Zhong et al., 2017: 767 people to train on, 700 to test with, 2 cameras.
CUHK03: Final = {
    boxes: PublishedSet(
        f"CUHK03-NP ({boxes})",
        {"train": train, "query": 1400, "gallery": gallery},
        (boxes,),
        ("cuhk03-np", "CUHK03-NP", "cuhk03"),
        "cuhk03-np/{detected, labeled}/{bounding_box_train, query, bounding_box_test}/ID_cCAMERA_N.png",
    )
    for boxes, train, gallery in (("detected", 7365, 5332), ("labeled", 7368, 5328))
}
# Wei et al., CVPR 2018: 1,041 people to train on, 3,060 to test with, 15 cameras; four lists say which.
MSMT17: Final = PublishedSet(
    "MSMT17",
    {"train": 32621, "query": 11659, "gallery": 82161},
    ("list_query.txt",),
    ("MSMT17_V1", "MSMT17_V2", "MSMT17", "msmt17"),
    "MSMT17_V1/{list_train.txt, list_val.txt, list_query.txt, list_gallery.txt, train, test/ID/NAME.jpg}",
)
# Liu et al., ECCV 2016: 576 vehicles to train on, 200 to test with, 20 cameras; three lists say which.
VERI: Final = PublishedSet(
    "VeRi-776",
    {"train": 37778, "query": 1678, "gallery": 11579},
    ("name_query.txt",),
    ("VeRi", "VeRi_with_plate", "VeRi-776", "veri"),
    "VeRi/{name_train.txt, name_query.txt, name_test.txt, image_train, image_query, image_test/NAME.jpg}",
)
_VERI_NAME: Final = re.compile(r"(?P<identity>[0-9]+)_c(?P<camera>[0-9]+)_[^/]*")
# Liu et al., CVPR 2016: 13,164 vehicles to train on, as many to test with. Of a test list the part is its number of
# vehicles; how many images those of 3,200 and 6,000 have is nowhere published.
VEHICLEID: Final = PublishedSet(
    "VehicleID",
    {"train": 113346, "800": 6493, "1600": 13377, "2400": 19777, "13164": 108221},
    ("train_test_split",),
    ("VehicleID_V1.0", "VehicleID", "vehicleid"),
    "VehicleID_V1.0/{image/NUMBER.jpg, train_test_split/{train_list.txt, test_list_800.txt, ...}}",
)
SIZES: Final = (800, 1600, 2400, 3200, 6000, 13164)
"""VehicleID's test lists, by how many vehicles they hold; the first three are what papers report."""


def market(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of Market-1501, or with `check_counts` False of any set in its layout, without junk."""
    return _three_folders(MARKET.folder(root), split, MARKET, check_counts)


def duke(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of DukeMTMC-reID."""
    return _three_folders(DUKE.folder(root), split, DUKE, check_counts)


def cuhk03(root: Path, split: str, *, boxes: str = "detected", check_counts: bool = True) -> LabelledImages:
    """One part of CUHK03 under the new protocol, with boxes that were "detected" or drawn by hand ("labeled").

    Raises:
        ConfigError: other boxes.
    """
    if boxes not in CUHK03:
        raise ConfigError(f"unknown boxes {boxes!r} of CUHK03-NP: choose {' or '.join(CUHK03)}")
    return _three_folders(CUHK03[boxes].folder(root) / boxes, split, CUHK03[boxes], check_counts)


def msmt17(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of MSMT17, version 1 or 2; "train" is its training and validation lists.

    A class's name is the list's number for the person. The camera is the third number of a file's name, as in
    0000_000_01_0303morning_0008_0.jpg.
    """
    folder = MSMT17.folder(root)
    places = ("train", "mask_train_v2") if split == "train" else ("test", "mask_test_v2")  # V1, V2: faces blurred
    images = next((name for name in places if (folder / name).is_dir()), None)
    if images is None:
        raise DataError(f"{describe(folder)}: there is no {' or '.join(places)} in it; the layout is {MSMT17.layout}")

    def rows(part: str) -> list[Row]:
        # Training and validation images are of the same people; published figures are of training with both.
        lists = ("train", "val") if part == "train" else (part,)
        return [row for name in lists for row in _msmt17_rows(folder / f"list_{name}.txt", images)]

    return MSMT17.lists(folder, rows, split, check_counts)


def _msmt17_rows(path: Path, images: str) -> list[Row]:
    """The images of one list, each a line "ID/NAME.jpg NUMBER"."""
    rows = []
    for image, number in read_fields(path, 2):
        parts = Path(image).name.split("_")
        if len(parts) < 4 or not parts[2].isdecimal():
            raise DataError(f"{describe(path)}: {image} does not tell its camera as 0000_000_01_0303morning.jpg does")
        rows.append(Row(f"{images}/{image}", number, int(parts[2])))
    return rows


def _three_folders(folder: Path, split: str, known: PublishedSet, check_counts: bool) -> LabelledImages:
    return known.lists(folder, lambda part: _folder_rows(folder, part), split, check_counts)


def _folder_rows(folder: Path, part: str) -> list[Row]:
    """The images of one of the folders, in order of their names, without junk."""
    inner = folder / FOLDERS[part]
    try:
        files = [name for name in os.listdir(inner) if name.lower().endswith(_SUFFIXES)]  # noqa: PTH208
    except OSError as error:
        raise DataError(f"{describe(inner)}: the folder cannot be listed ({error.strerror})") from error
    names = sorted(name for name in files if not name.startswith("."))
    return _named_rows(inner, FOLDERS[part], names, _NAME, "0002_c1")


def _named_rows(where: Path, inner: str, names: Sequence[str], pattern: re.Pattern[str], form: str) -> list[Row]:
    """The images whose names tell identity and camera, without junk."""
    found = [(name, pattern.fullmatch(name)) for name in names]
    if odd := [name for name, match in found if match is None]:
        what = f"{len(odd)} names do not begin as {form} does, identity and camera: {examples(odd)}"
        raise DataError(f"{describe(where)}: {what}")
    return [
        Row(f"{inner}/{name}", match["identity"], int(match["camera"]))
        for name, match in found
        if match is not None and match["identity"] != JUNK
    ]


def veri(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of VeRi-776: "train", "query", "gallery", or "test": query and gallery together, which share names.

    Vehicle and camera are told by a file's name, as in 0001_c001_00016450_0.jpg. What jk_index.txt calls junk, the
    same vehicle in the query's camera, is what Market-1501's rules leave out, so that list isn't read.
    """
    folder = VERI.folder(root)

    def rows(part: str) -> list[Row]:
        called = "test" if part == "gallery" else part
        path = folder / f"name_{called}.txt"
        names = [name for (name,) in read_fields(path, 1)]
        return _named_rows(path, f"image_{called}", names, _VERI_NAME, "0001_c001_")

    return VERI.lists(folder, rows, split, check_counts)


def vehicleid(root: Path, split: str, *, vehicles: int = 800, check_counts: bool = True) -> LabelledImages:
    """The images of train_list.txt ("train") or of VehicleID's test list of so many `vehicles`, one of `SIZES`.

    The benchmark draws one image of each test vehicle as the gallery and asks with all others
    (`fewshot_seg.reid.ranking.one_each`), so "test", "query" and "gallery" are the same images here.

    Raises:
        ConfigError: no such test list.
    """
    if vehicles not in SIZES:
        raise ConfigError(f"VehicleID has no test list of {vehicles!r} vehicles: choose {', '.join(map(str, SIZES))}")
    folder = VEHICLEID.folder(root)
    is_train = split == "train"
    path = folder / "train_test_split" / ("train_list.txt" if is_train else f"test_list_{vehicles}.txt")
    rows = [Row(f"image/{image}.jpg", vehicle) for image, vehicle in read_fields(path, 2)]
    return labelled(
        folder,
        rows,
        sorted({row.name for row in rows}, key=natural_key),
        what=f"VehicleID {split}" if is_train else f"VehicleID {split} ({vehicles} vehicles)",
        published=VEHICLEID.images.get("train" if is_train else str(vehicles)),
        check_counts=check_counts,
    )
