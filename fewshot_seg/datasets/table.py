"""A CSV table with a column `path`: its records as text, as any program writes them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from fewshot_seg.errors import DataError, describe
from fewshot_seg.files import regular


def read_table(path: Path) -> list[dict[str, str]]:
    """The table's records, column -> value, stripped of blanks; a value that is missing is empty.

    Args:
        path: a CSV file in UTF-8, with a header.

    Raises:
        DataError: no such file or no CSV table, no column `path`, or a record with more fields than the header.
    """
    try:
        with regular(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            raw = list(reader)
    except OSError as error:
        raise DataError(f"{describe(path)}: cannot be read ({error.strerror}); give a CSV table") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{describe(path)}: is no CSV table in UTF-8; save it as one") from error
    if "path" not in columns:
        found = ", ".join(map(describe, columns[:3])) or "none"
        raise DataError(f"{describe(path)}: has no column 'path', only {found}; name it so")
    return [_record(path, number, record) for number, record in enumerate(raw)]


def record_line(path: Path, number: int) -> str:
    """FILE, record N: a quoted field may span lines, so a record's line is not known."""
    return f"{describe(path)}, record {number + 1}"


def _record(path: Path, number: int, raw: dict[str | Any, Any]) -> dict[str, str]:
    if None in raw:
        raise DataError(f"{record_line(path, number)}: has more fields than the header; quote what holds a comma")
    return {column: (value or "").strip() for column, value in raw.items()}
