"""A CSV table of images: a column path and, if wanted, label, class_name, split, camera, is_query, is_gallery.

- `path` counts from the table's folder; `label`, or `id`, which is another word for it, is any text, one for each
  class (12.0 is 12). Without the column the first folder of the path is the class, so that a table can share out
  class folders. `camera` is a number or a name (see `names`).
- `split` is train, or validation (also val, valid, test): the classes of the two must differ. Without the column
  the training classes are chosen as those of class folders are.
- `is_query`, `is_gallery` (1 or 0) tell the test images that ask from those that are asked for. Without them every
  test image is both.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Final

from fewshot_seg.datasets.class_folder import DEFAULT_SHARE, choose_classes
from fewshot_seg.datasets.labelled import LabelledImages, TrainClasses, examples
from fewshot_seg.datasets.names import Camera, camera_of_text, id_of_text
from fewshot_seg.datasets.published import Row, labelled
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.files import regular
from fewshot_seg.imaging.find import natural_key

DEFAULT_TABLE: Final = "df.csv"
_PARTS: Final = {"train": "train", "validation": "test", "val": "test", "valid": "test", "test": "test"}
_YES: Final = ("1", "true", "yes")
_NO: Final = ("0", "false", "no", "")

_Record = dict[str, str]


def load(
    root: Path,
    split: str,
    *,
    split_file: str = DEFAULT_TABLE,
    train_classes: TrainClasses | None = None,
    check_counts: bool = True,
) -> LabelledImages:
    """The table's images of one split: "train", "test", or of the latter the "query" or "gallery" images.

    Args:
        root: the folder of the table, or the table itself.
        split: which part.
        split_file: the table's name, if `root` is a folder.
        train_classes: for a table without the column `split`; see `class_folder.choose_classes`.
        check_counts: refuse a table that lists missing files; False leaves them out.

    Raises:
        DataError: no such table, columns or values that cannot be (with the line), a class in both splits, an
            empty split, missing files. ConfigError: `train_classes` beside a column `split`.
    """
    path = root if root.is_file() else root / split_file
    records = [_with_label(path, number, record) for number, record in enumerate(read_table(path))]
    names = _class_names(path, records)
    parts = _parts(path, records, names, train_classes)
    kept = [i for i, part in enumerate(parts) if part == ("train" if split == "train" else "test")]
    wanted = {records[i]["label"] for i in kept}
    shown = tuple(name for label, name in names.items() if label in wanted)
    kept = [i for i in kept if _asked_for(path, i, records[i], split)]
    cameras = _cameras(path, records)
    rows = [Row(records[i]["path"], names[records[i]["label"]], None if cameras is None else cameras[i]) for i in kept]
    return labelled(path.parent, rows, shown, what=f"split {split!r} of {path.name}", check_counts=check_counts)


def read_table(path: Path) -> list[dict[str, str]]:
    """The records of a CSV file in UTF-8, column -> value, stripped of blanks; a value that is missing is empty.

    Raises:
        DataError: no such file or no CSV table, no column `path`, or a record with more fields than the header.
    """
    try:
        with regular(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            raw: list[dict[str | Any, Any]] = list(reader)
    except OSError as error:
        raise DataError(f"{describe(path)}: cannot be read ({error.strerror}); give a CSV table") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{describe(path)}: is no CSV table in UTF-8; save it as one") from error
    if "path" not in columns:
        found = ", ".join(map(describe, columns[:3])) or "none"
        raise DataError(f"{describe(path)}: has no column 'path', only {found}; name it so")
    for number, record in enumerate(raw):
        if None in record:
            raise DataError(f"{_place(path, number)}: has more fields than the header; quote what holds a comma")
    return [{column: (value or "").strip() for column, value in record.items()} for record in raw]


def _place(path: Path, number: int) -> str:
    """FILE, record N: a quoted field may span lines, so a record's line is not known."""
    return f"{describe(path)}, record {number + 1}"


def _with_label(path: Path, number: int, record: dict[str, str]) -> dict[str, str]:
    """A record, its label taken from the path where the table has none."""
    parts = PurePath(record["path"]).parts
    if "label" not in record and "id" in record:
        record["label"] = record["id"]
    if "label" not in record and len(parts) > 1:
        record = record | {"label": parts[0]}
    record["label"] = id_of_text(record.get("label", ""))
    if not record["path"] or not record["label"]:
        raise DataError(f"{_place(path, number)}: needs a path and a label (or a path CLASS/NAME.jpg and no label)")
    return record


def _class_names(path: Path, records: Sequence[_Record]) -> dict[str, str]:
    """label -> name, in natural order of the labels."""
    names: dict[str, str] = {}
    for number, record in enumerate(records):
        name = record.get("class_name") or record["label"]
        if names.setdefault(record["label"], name) != name:
            raise DataError(
                f"{_place(path, number)}: class {record['label']!r} is called {name!r} here, "
                f"and {names[record['label']]!r} above; give it one name"
            )
    if len(set(names.values())) < len(names):
        raise DataError(f"{describe(path)}: two labels have one class_name; give each its own")
    return dict(sorted(names.items(), key=lambda item: natural_key(item[0])))


def _parts(
    path: Path, records: Sequence[_Record], names: dict[str, str], train_classes: TrainClasses | None
) -> list[str]:
    """For each record "train" or "test"."""
    if not records or "split" not in records[0]:
        chosen = set(choose_classes(tuple(names.values()), DEFAULT_SHARE if train_classes is None else train_classes))
        return ["train" if names[record["label"]] in chosen else "test" for record in records]
    if train_classes is not None:
        raise ConfigError(f"train_classes: {describe(path)} has a column 'split' that decides; leave one of them out")
    parts = []
    sides: dict[str, set[str]] = {"train": set(), "test": set()}
    for number, record in enumerate(records):
        part = _PARTS.get(record["split"].lower())
        if part is None:
            raise DataError(f"{_place(path, number)}: unknown split {record['split']!r}; write train or validation")
        parts.append(part)
        sides[part].add(names[record["label"]])
    if shared := sorted(sides["train"] & sides["test"], key=natural_key):
        raise DataError(
            f"{describe(path)}: {len(shared)} classes are in train and in validation: {examples(shared)}; "
            "the two must have different classes, for the score is that of classes never seen"
        )
    return parts


def _asked_for(path: Path, number: int, record: _Record, split: str) -> bool:
    """Whether a test image is a query, or in the gallery."""
    column = f"is_{split}"
    if split not in ("query", "gallery") or column not in record:
        return True
    value = record[column].lower().removesuffix(".0")
    if value not in (*_YES, *_NO):
        raise DataError(f"{_place(path, number)}: {column} is {record[column]!r}; write 1 or 0")
    return value in _YES


def _cameras(path: Path, records: Sequence[_Record]) -> list[Camera] | None:
    """Each record's camera; None if the table knows none."""
    values = [record.get("camera", "") for record in records]
    if not any(values):
        return None
    if "" in values:
        raise DataError(f"{_place(path, values.index(''))}: has no camera, but others have; give all or none")
    return [camera_of_text(value) for value in values]
