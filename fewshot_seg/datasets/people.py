"""People by identity and camera: Market-1501, DukeMTMC-reID, CUHK03-NP and MSMT17.

The first three have the layout that Market-1501 gave to re-identification: three folders, identity and camera in each
file's name. A class is a person. Of every set there are "train", "query", "gallery", and "test": query and gallery
together. The last three share their class names, so that labels can be compared. `root` is the folder that the archive
unpacks to, or the one that holds it; `check_counts` refuses a set that isn't complete.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from fewshot_seg.datasets.labelled import LabelledImages, examples
from fewshot_seg.datasets.published import Row, data_folder, load_parts, read_fields
from fewshot_seg.errors import ConfigError, DataError, describe

FOLDERS: Final = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
JUNK: Final = "-1"
"""The identity of detections that are nobody: they count neither for nor against, and are left out."""

_NAME: Final = re.compile(r"(?P<identity>-1|[0-9]+)_c(?P<camera>[0-9]+)[^/]*")
_SUFFIXES: Final = (".jpg", ".jpeg", ".png")


class _Set(NamedTuple):
    """A published set: its name in messages, names of the folder that it unpacks to, how many images each part has."""

    title: str
    inner: tuple[str, ...]
    images: Mapping[str, int]


# Zheng et al., 2015: 751 people to train on, 750 to test with, 6 cameras. bounding_box_test has 19,732 files; 3,819 of
# them are junk (identity -1). Identity 0000, the distractors, stays.
MARKET: Final = _Set(
    "Market-1501",
    ("Market-1501-v15.09.15", "Market-1501", "market1501"),
    {"train": 12936, "query": 3368, "gallery": 15913},
)
# Ristani et al., 2016; Zheng et al., 2017: 702 people to train on, 702 to test with, 8 cameras. The gallery has 408
# people more, who come up under one camera only.
DUKE: Final = _Set(
    "DukeMTMC-reID",
    ("DukeMTMC-reID", "dukemtmc-reid", "dukemtmcreid"),
    {"train": 16522, "query": 2228, "gallery": 17661},
)
# Li et al., 2014; protocol of Zhong et al., 2017: 767 people to train on, 700 to test with, 2 cameras.
CUHK03: Final = {
    boxes: _Set(f"CUHK03-NP ({boxes})", (boxes,), {"train": train, "query": 1400, "gallery": gallery})
    for boxes, train, gallery in (("detected", 7365, 5332), ("labeled", 7368, 5328))
}
_CUHK03_INNER: Final = ("cuhk03-np", "CUHK03-NP", "cuhk03")
_CUHK03_LAYOUT: Final = "cuhk03-np/{detected, labeled}/{bounding_box_train, query, bounding_box_test}/ID_cCAMERA_N.png"
# Wei et al., CVPR 2018: 1,041 people to train on, 3,060 to test with, 15 cameras; four lists say which.
MSMT17: Final = _Set(
    "MSMT17", ("MSMT17_V1", "MSMT17_V2", "MSMT17", "msmt17"), {"train": 32621, "query": 11659, "gallery": 82161}
)
# Training and validation images are of the same people; published figures are of training with both.
_LISTS: Final = {
    "train": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}
_MSMT17_FOLDERS: Final = {
    "train": ("train", "mask_train_v2"),
    "test": ("test", "mask_test_v2"),
}  # V1, V2: faces blurred
_MSMT17_LAYOUT: Final = (
    "MSMT17_V1/{list_train.txt, list_val.txt, list_query.txt, list_gallery.txt, train, test/ID/NAME.jpg}"
)


def market(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of Market-1501, or with `check_counts` False of any set in its layout, without junk.

    Raises:
        DataError: another layout, names that hold no identity and camera, or another number of images.
    """
    return _three_folders(root, split, MARKET, check_counts)


def duke(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of DukeMTMC-reID; errors as `market`."""
    return _three_folders(root, split, DUKE, check_counts)


def cuhk03(root: Path, split: str, *, boxes: str = "detected", check_counts: bool = True) -> LabelledImages:
    """One part of CUHK03 under the new protocol, with boxes that were "detected" or drawn by hand ("labeled").

    Raises:
        ConfigError: other boxes. DataError: as `market`.
    """
    if boxes not in CUHK03:
        raise ConfigError(f"unknown boxes {boxes!r} of CUHK03-NP: choose {' or '.join(CUHK03)}")
    folder = data_folder(root, boxes, _CUHK03_INNER, _CUHK03_LAYOUT) / boxes
    return _three_folders(folder, split, CUHK03[boxes], check_counts)


def msmt17(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of MSMT17, version 1 or 2; "train" is its training and validation lists.

    A class's name is the list's number for the person. The camera is the third number of a file's name, as in
    0000_000_01_0303morning_0008_0.jpg.

    Raises:
        DataError: another layout, a line or name of another form, or images missing.
    """
    folder = data_folder(root, _LISTS["query"][0], MSMT17.inner, _MSMT17_LAYOUT)
    places = _MSMT17_FOLDERS["train" if split == "train" else "test"]
    images = next((name for name in places if (folder / name).is_dir()), None)
    if images is None:
        raise DataError(f"{describe(folder)}: there is no {' or '.join(places)} in it; the layout is {_MSMT17_LAYOUT}")

    def rows(part: str) -> list[Row]:
        return [row for name in _LISTS[part] for row in _msmt17_rows(folder / name, images)]

    return load_parts(folder, rows, split, what=MSMT17.title, published=MSMT17.images, check_counts=check_counts)


def _msmt17_rows(path: Path, images: str) -> list[Row]:
    """The images of one list, each a line "ID/NAME.jpg NUMBER"."""
    rows = []
    for image, number in read_fields(path, 2):
        parts = Path(image).name.split("_")
        if len(parts) < 4 or not parts[2].isdecimal():
            raise DataError(f"{describe(path)}: {image} does not tell its camera as 0000_000_01_0303morning.jpg does")
        rows.append(Row(f"{images}/{image}", number, int(parts[2])))
    return rows


def _three_folders(root: Path, split: str, known: _Set, check_counts: bool) -> LabelledImages:
    layout = f"{known.inner[0]}/{{bounding_box_train, query, bounding_box_test}}/ID_cCAMERA....jpg"
    folder = data_folder(root, FOLDERS["train"], known.inner, layout)
    return load_parts(
        folder,
        lambda part: _folder_rows(folder, part),
        split,
        what=known.title,
        published=known.images,
        check_counts=check_counts,
    )


def _folder_rows(folder: Path, part: str) -> list[Row]:
    """The images of one of the folders, in order of their names, without junk."""
    inner = folder / FOLDERS[part]
    try:
        files = [name for name in os.listdir(inner) if name.lower().endswith(_SUFFIXES)]  # noqa: PTH208
    except OSError as error:
        raise DataError(f"{describe(inner)}: the folder cannot be listed ({error.strerror})") from error
    files = sorted(name for name in files if not name.startswith("."))
    found = [(name, _NAME.fullmatch(name)) for name in files]
    if odd := [name for name, match in found if match is None]:
        raise DataError(
            f"{describe(inner)}: {len(odd)} names do not begin as 0002_c1 does, identity and camera: {examples(odd)}"
        )
    return [
        Row(f"{FOLDERS[part]}/{name}", match["identity"], int(match["camera"]))
        for name, match in found
        if match is not None and match["identity"] != JUNK
    ]
