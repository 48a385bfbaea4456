"""Split lists: text files of lines `ID__CC`, an image and the 1-based number of a class in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fewshot_seg.datasets import Entry
from fewshot_seg.decode import describe
from fewshot_seg.errors import DataError

_LINE = re.compile(r"(?P<image>[^\s/\\](?:[^/\\]*[^\s/\\])?)__(?P<label>[0-9]{1,4})")


def read_split_list(path: str | os.PathLike[str], classes: int) -> tuple[Entry, ...]:
    """The entries of a list, in its order; blank lines are passed over.

    Args:
        path: a UTF-8 text file.
        classes: class numbers go from 1 to this.

    Raises:
        DataError: no readable text, no entries, a line of another form, an unknown class, an entry twice.
    """
    seen: dict[Entry, int] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        entry = _entry(line.strip(), f"{describe(path)}:{number}", classes)
        if entry in seen:
            raise DataError(f"{describe(path)}:{number}: {line.strip()!r} is in line {seen[entry]} too")
        seen[entry] = number
    if not seen:
        raise DataError(f"{describe(path)}: the list has no entries; a line is ID__CC, as 2007_000033__01")
    return tuple(seen)


def _entry(line: str, where: str, classes: int) -> Entry:
    found = _LINE.fullmatch(line)
    if found is None:
        raise DataError(f"{where}: {line!r} is not of the form ID__CC, such as 2007_000033__01")
    label = int(found["label"])
    if not 1 <= label <= classes:
        raise DataError(f"{where}: {line!r} has the unknown class {label}; classes go from 1 to {classes}")
    return Entry(found["image"], label)


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{describe(path)}: cannot read the split list: {reason}; check the path") from error
    except ValueError as error:
        raise DataError(f"{describe(path)}: the split list is no UTF-8 text; give a list of ID__CC lines") from error
