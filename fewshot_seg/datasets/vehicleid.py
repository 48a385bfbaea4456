"""PKU VehicleID (Liu et al., CVPR 2016): 13,164 vehicles to train on, as many to test with; no cameras are told."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import Row, data_folder, labelled, read_fields
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.find import natural_key

__all__ = ["SIZES", "load"]

IMAGES: Final = {"train": 113346, 800: 6493, 1600: 13377, 2400: 19777, 13164: 108221}
SIZES: Final = (800, 1600, 2400, 3200, 6000, 13164)
"""The test lists, by how many vehicles they hold; the first three are what papers report."""

_INNER: Final = ("VehicleID_V1.0", "VehicleID", "vehicleid")
_LAYOUT: Final = "VehicleID_V1.0/{image/NUMBER.jpg, train_test_split/{train_list.txt, test_list_800.txt, ...}}"
_LISTS: Final = "train_test_split"


def load(root: Path, split: str, *, vehicles: int = 800, check_counts: bool = True) -> LabelledImages:
    """The images of train_list.txt ("train") or of one of the test lists ("test", "query", "gallery").

    A class is a vehicle. The benchmark draws one image of each test vehicle as the gallery and asks with all others
    (`fewshot_seg.reid.rules.one_each`), so queries and gallery are the same images here.

    Args:
        root: the folder with image and train_test_split, or the one that holds it.
        split: which part.
        vehicles: which test list, one of `SIZES`.
        check_counts: refuse a set that is not complete. How many images the lists of 3,200 and 6,000 vehicles have
            is nowhere published, so of these only the files are checked.

    Raises:
        ConfigError: no such test list. DataError: another layout, or images missing.
    """
    if vehicles not in SIZES:
        raise ConfigError(f"VehicleID has no test list of {vehicles!r} vehicles: choose {', '.join(map(str, SIZES))}")
    folder = data_folder(root, _LISTS, _INNER, _LAYOUT)
    name, count = (
        ("train_list.txt", IMAGES["train"]) if split == "train" else (_test_list(vehicles), IMAGES.get(vehicles))
    )
    rows = [Row(f"image/{image}.jpg", vehicle) for image, vehicle in read_fields(folder / _LISTS / name, 2)]
    return labelled(
        folder,
        rows,
        sorted({row.name for row in rows}, key=natural_key),
        what=f"VehicleID {split}" if split == "train" else f"VehicleID {split} ({vehicles} vehicles)",
        published=count,
        check_counts=check_counts,
    )


def _test_list(vehicles: int) -> str:
    return f"test_list_{vehicles}.txt"
