"""Split lists worked out from masks, and written.

The published lists of PASCAL-5i come from OSLSM's code (Shaban et al., BMVC 2017), which leaves small objects
out: it keeps a class of an image if more than two points of a grid of 32 pixels' pitch lie in it (the mask is
scaled down to 1/32 without smoothing). Its grid points lie exactly between two pixels, so which of the two
counts hung on rounding inside its library; with rows 0, 32, ... and columns 1, 33, ... 840 of 842 classes of 413
VOC images come out as in the published lists, and the other two have a neighbouring pixel that explains them.
PFENet (Tian et al., TPAMI 2020) takes the same for "at least 2 * 32 * 32 pixels", which is another rule: 31 of
the 842 differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.datasets.segmentation import Entry, SegmentationDataset, StrPath
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.imaging.export import atomic_file

_PITCH: Final = 32

RULES: Final[Mapping[str, Callable[[NDArray[np.bool_]], bool]]] = {
    "oslsm": lambda mask: int(np.count_nonzero(mask[::_PITCH, 1::_PITCH])) > 2,
    "pfenet": lambda mask: int(np.count_nonzero(mask)) >= 2 * _PITCH * _PITCH,
    "any": lambda mask: bool(mask.any()),
}
"""When a class is listed for an image, given where it is, (H, W); see the module's text."""


def make_split_list(
    dataset: SegmentationDataset,
    classes: Iterable[int],
    rule: str = "oslsm",
    *,
    only: Collection[str] | None = None,
    by_class: bool = False,
    track: Callable[[Iterable[str], int, str], Iterable[str]] | None = None,
) -> tuple[Entry, ...]:
    """The entries of a data set that a rule keeps, worked out from the masks.

    Args:
        dataset: its entries are what the list is chosen from.
        classes: of a fold; other entries are left out.
        rule: a name of `RULES`.
        only: image ids; others are left out. None means all.
        by_class: in the order of the classes, then of the images, as PASCAL-5i's lists for training are;
            else the other way round, as its lists for testing are.
        track: passes the images on and shows progress; None shows none.

    Raises:
        ConfigError: no such rule. DataError: no entry is left, or a bad mask. ImageError: an unreadable one.
    """
    if rule not in RULES:
        raise ConfigError(f"unknown rule {rule!r}: choose {', '.join(RULES)}")
    members = set(classes)
    by_image: dict[str, list[int]] = {}
    for entry in dataset.entries:
        if entry.label in members and (only is None or entry.image in only):
            by_image.setdefault(entry.image, []).append(entry.label)
    kept = []
    for image in by_image if track is None else track(by_image, len(by_image), "masks"):
        mask = dataset.mask(image)
        kept += [Entry(image, label) for label in by_image[image] if RULES[rule](mask == label)]
    if not kept:
        raise DataError(f"rule {rule!r} leaves no class of any image; take another rule, fold or data")
    return tuple(sorted(kept, key=lambda one: one[::-1] if by_class else one))


def write_split_list(path: StrPath, entries: Iterable[Entry]) -> None:
    """Write a list of `ID__CC` lines; the file appears whole or not at all. OutputError: it can't be written."""
    with atomic_file(path) as stream:
        stream.write(split_list_text(entries))


def split_list_text(entries: Iterable[Entry]) -> bytes:
    """A list of `ID__CC` lines."""
    return b"".join(f"{entry.image}__{entry.label:02d}\n".encode() for entry in entries)
