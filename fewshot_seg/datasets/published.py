"""What the published data sets have in common: where their folder is, lists of files, and whether all is there."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fewshot_seg.datasets.labelled import LabelledImages, examples
from fewshot_seg.datasets.names import Camera
from fewshot_seg.errors import DataError, describe
from fewshot_seg.files import regular
from fewshot_seg.imaging.find import natural_key


class Row(NamedTuple):
    """One listed image: its path from the data set's folder, the name of its class, its camera."""

    path: str
    name: str
    camera: Camera | None = None


@dataclass(frozen=True)
class PublishedSet:
    """A data set as its archive unpacks.

    Attributes:
        title: its name in messages.
        images: part -> how many images it has.
        markers: files or folders, of which its folder holds one.
        inner: names of the folder that the archive unpacks to.
        layout: what should be there, for messages.
    """

    title: str
    images: Mapping[str, int]
    markers: tuple[str, ...]
    inner: tuple[str, ...]
    layout: str

    def folder(self, root: Path) -> Path:
        """`root`, or the folder in it that the archive unpacks to: the first that holds a marker.

        Raises:
            DataError: none does.
        """
        for folder in (root, *(root / name for name in self.inner)):
            if any((folder / marker).exists() for marker in self.markers):
                return folder
        what = f"there is no {' or '.join(self.markers)} in it" if root.is_dir() else "no such folder"
        raise DataError(f"{describe(root)}: {what}; the layout is {self.layout}")

    def part(
        self, folder: Path, rows: Sequence[Row], names: Sequence[str], split: str, check_counts: bool
    ) -> LabelledImages:
        """The images of one list; see `labelled`, whose errors are raised."""
        what, published = f"{self.title} {split}", self.images[split]
        return labelled(folder, rows, names, what=what, published=published, check_counts=check_counts)

    def halves(
        self,
        folder: Path,
        images: Iterable[tuple[str, int]],
        names: Mapping[int, str],
        split: str,
        *,
        last: int,
        check_counts: bool,
    ) -> LabelledImages:
        """The images, (path, class), of the classes up to number `last` ("train"), or of those after it."""
        part = "train" if split == "train" else "test"
        wanted = {number: name for number, name in names.items() if (number <= last) == (part == "train")}
        rows = [Row(path, wanted[number]) for path, number in images if number in wanted]
        return self.part(folder, rows, [*dict.fromkeys(wanted.values())], part, check_counts)

    def lists(
        self,
        folder: Path,
        rows: Callable[[str], Sequence[Row]],
        split: str,
        check_counts: bool,
        *,
        by_name: bool = True,
    ) -> LabelledImages:
        """One part of a set whose queries and gallery are lists of their own, and share their class names.

        Args:
            folder: the data set's.
            rows: the list of "train", "query" or "gallery".
            split: one of these, or "test": query and gallery together.
            check_counts: see `labelled`, whose errors are raised.
            by_name: classes in natural order of their names; else in the lists' order.
        """
        listed = {part: rows(part) for part in (("train",) if split == "train" else ("query", "gallery"))}
        names = list(dict.fromkeys(row.name for part in listed.values() for row in part))
        wanted = [*listed] if split == "test" else [split]
        return labelled(
            folder,
            [row for part in wanted for row in listed[part]],
            sorted(names, key=natural_key) if by_name else names,
            what=f"{self.title} {split}",
            published=sum(self.images[part] for part in wanted),
            check_counts=check_counts,
        )


def read_mat(path: Path, *, squeeze: bool = False) -> dict[str, Any]:
    """The variables of a MATLAB file, without axes of length 1 if `squeeze`; DataError where it can't be read."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content: dict[str, Any] = loadmat(str(path), squeeze_me=squeeze)
    except (OSError, EOFError, ValueError, TypeError, NotImplementedError, MatReadError, zlib.error) as error:
        raise DataError(f"{describe(path)}: is no readable MATLAB file; unpack the data set again") from error
    return content


def read_fields(path: Path, number: int, header: int = 0) -> list[list[str]]:
    """The lines of a text file after the first `header`, each split at blanks into `number` fields, none blank.

    Raises:
        DataError: no readable UTF-8 text, or a line with fewer fields (which one).
    """
    try:
        lines = regular(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{describe(path)}: cannot be read ({error.strerror}); it is part of the data set") from error
    except ValueError as error:
        raise DataError(f"{describe(path)}: is no UTF-8 text; unpack the data set again") from error
    found = []
    for place, line in enumerate(lines, start=1):
        fields = line.split(maxsplit=number - 1)
        if not fields or place <= header:
            continue
        if len(fields) < number:
            raise DataError(f"{describe(path)}:{place}: has {len(fields)} fields, not {number}: {line.strip()!r}")
        found.append([field.strip() for field in fields])
    return found


def labelled(
    root: Path,
    rows: Sequence[Row],
    names: Sequence[str],
    *,
    what: str,
    published: int | None = None,
    check_counts: bool = True,
) -> LabelledImages:
    """The listed images that are there, or a complaint about those that aren't.

    Args:
        root: the data set's folder.
        rows: its list, for the wanted part.
        names: of all the part's classes; a label is a place in it.
        what: the part's name in messages, "CUB-200-2011 train".
        published: how many images the part has; None where nothing was published.
        check_counts: refuse a part that lacks files or has not as many as published.

    Raises:
        DataError: images are missing (how many, three of them), the list is not the published one, or nothing
            is there.
    """
    if not rows:
        raise DataError(f"{describe(root)}: {what} is empty: no image is listed for it")
    there = _present(root, [row.path for row in rows])
    missing = [row.path for row, found in zip(rows, there, strict=True) if not found]
    if check_counts and missing:
        raise DataError(
            f"{describe(root)}: {len(missing)} of {len(rows)} images of {what} are missing: {examples(missing)}; "
            "add them, or go on without them with check_counts false (fewshot-eval: --allow-missing)"
        )
    if check_counts and published is not None and len(rows) != published:
        raise DataError(
            f"{describe(root)}: {what} has {len(rows)} images, published are {published}; "
            "unpack the data set again, or take it as it is with check_counts false (fewshot-eval: --allow-missing)"
        )
    if len(missing) == len(rows):
        raise DataError(f"{describe(root)}: none of the {len(rows)} images of {what} is there: {examples(missing)}")
    kept = [row for row, found in zip(rows, there, strict=True) if found]
    label = {name: number for number, name in enumerate(names)}
    cameras = [row.camera for row in kept if row.camera is not None]
    return LabelledImages(
        tuple(root / row.path for row in kept),
        tuple(label[row.name] for row in kept),
        tuple(names),
        tuple(cameras) if len(cameras) == len(kept) else None,
        tuple(Path(row.path).as_posix() for row in kept),
    )


def _present(root: Path, paths: Sequence[str]) -> list[bool]:
    """Which of the files are there: one listing a folder, for a set may have 100,000 files."""
    listings: dict[Path, set[str]] = {}
    found = []
    for path in paths:
        full = root / path
        if full.parent not in listings:
            try:
                listings[full.parent] = set(os.listdir(full.parent))  # noqa: PTH208 - names are what is wanted
            except OSError:
                listings[full.parent] = set()
        found.append(full.name in listings[full.parent])
    return found
