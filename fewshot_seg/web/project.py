"""A project on disk: images, examples, corrections, accepted masks. A database of SQLite, and files beside it.

    project.db      everything but pixels
    images/ID.EXT   what was uploaded, as it came
    maps/ID.npz     what the network said of a query, small: masks are cut from it anew whenever a slider moves
    masks/ID.png    an accepted label map
    examples/ID.png the mask of an example that was accepted

A file is written whole before the database names it, so that a killed server has lost nothing that it confirmed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Final

from fewshot_seg.errors import ConfigError, DataError, OutputError, describe
from fewshot_seg.imaging.export import make_folder
from fewshot_seg.web.refusals import BAD, MISSING, RefusalError

FOLDERS: Final = ("images", "maps", "masks", "examples", "indexes")
DATABASE: Final = "project.db"
_APPLICATION: Final = int.from_bytes(b"FSSP")  # in the file's header: this program's
_FORMAT: Final = 1
_SCHEMA: Final = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS classes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, path TEXT NOT NULL UNIQUE, uploaded INTEGER NOT NULL,
    height INTEGER, width INTEGER, query INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'new', error TEXT,
    run INTEGER NOT NULL DEFAULT 0, found TEXT NOT NULL DEFAULT '[]', edits TEXT NOT NULL DEFAULT '[]', accepted TEXT
);
CREATE TABLE IF NOT EXISTS examples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
    class INTEGER NOT NULL REFERENCES classes ON DELETE CASCADE, hint TEXT
);
"""
_IMAGE_COLUMNS: Final = frozenset("name path uploaded height width query state error run found edits accepted".split())
_AS_JSON: Final = frozenset({"found", "edits", "accepted", "hint"})


class Project:
    """A project's folder, open; the caller holds its lock. Threads may share it.

    Args:
        folder: an earlier project, or an empty or new folder.

    Raises:
        ConfigError: it holds other files and no project. DataError: a damaged one. OutputError: no right to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self._lock = RLock()
        path = self.folder / DATABASE
        if not path.is_file() and any(one.name != ".lock" for one in self.folder.iterdir()):
            raise ConfigError(f"{describe(folder)}: holds other files and no project; name an empty or a new folder")
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            (application,), (version,) = (self._database.execute(f"PRAGMA {what}").fetchone() for what in _HEADER)
            if (application, version) not in ((0, 0), (_APPLICATION, _FORMAT)):
                raise DataError(f"{describe(path)}: is no project of this version; choose another --project")
            self._database.row_factory = sqlite3.Row
            self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;" + _SCHEMA)
        except sqlite3.OperationalError as error:
            raise OutputError(f"{describe(path)}: cannot be opened ({error}); check the folder") from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{describe(path)}: is damaged ({error}); restore it, or choose another --project"
            ) from error
        for name in FOLDERS:
            make_folder(self.folder / name)

    def close(self) -> None:
        """Close the database; nothing is lost without it."""
        with self._lock:
            self._database.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """All of the block's changes, or none. OutputError where they can't be written."""
        with self._lock:
            if self._database.in_transaction:
                yield
                return
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._database.execute("COMMIT")
                except BaseException:
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                raise OutputError(f"{describe(self.folder)}: cannot write ({error}); check the disk") from error

    def _ask(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self._lock:
            rows = [dict(row) for row in self._database.execute(query, values)]
        for row in rows:
            for name in _AS_JSON & row.keys():
                row[name] = None if row[name] is None else json.loads(row[name])
        return rows

    # Settings

    def setting(self, name: str, default: Any = None) -> Any:
        """One setting's value."""
        rows = self._ask("SELECT value FROM settings WHERE name = ?", name)
        return json.loads(rows[0]["value"]) if rows else default

    def set(self, name: str, value: Any) -> None:
        """Keep one setting."""
        with self.change():
            self._ask("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, json.dumps(value))

    def count_clicks(self, more: int = 1) -> None:
        """Add to the marks, corrections and decisions that the project took."""
        with self.change():
            self.set("clicks", self.setting("clicks", 0) + more)

    # Classes

    def classes(self) -> list[str]:
        """Their names; class i has label i + 1."""
        return [row["name"] for row in self._ask("SELECT name FROM classes ORDER BY id")]

    def add_class(self, name: str) -> int:
        """Its id; a class of this name may be there already."""
        name = _checked_name(name)
        with self.change():
            self._ask("INSERT OR IGNORE INTO classes (name) VALUES (?)", name)
            return int(self._ask("SELECT id FROM classes WHERE name = ?", name)[0]["id"])

    def rename_class(self, place: int, name: str) -> None:
        """Give a class another name, in accepted masks, corrections and results, too. RefusalError: it is taken."""
        old, name = self._class_at(place), _checked_name(name)
        with self.change():
            if name.casefold() != old.casefold() and name.casefold() in map(str.casefold, self.classes()):
                raise RefusalError(BAD, f"there is a class {name!r} already")
            self._ask("UPDATE classes SET name = ? WHERE name = ?", name, old)
            for image in self.images():
                edits = [edit | {"class": name} if edit["class"] == old else edit for edit in image["edits"]]
                found = [one | {"class": name} if one["class"] == old else one for one in image["found"]]
                accepted = image["accepted"] and [name if one == old else one for one in image["accepted"]]
                self.change_image(image["id"], edits=edits, found=found, accepted=accepted)

    def remove_class(self, place: int) -> None:
        """Forget a class and its examples."""
        name = self._class_at(place)
        examples = [one["id"] for one in self.examples() if one["class"] == name]
        with self.change():
            self._ask("DELETE FROM classes WHERE name = ?", name)
        for number in examples:
            self.example_file(number).unlink(missing_ok=True)

    def _class_at(self, place: int) -> str:
        classes = self.classes()
        if not 0 <= place < len(classes):
            raise RefusalError(MISSING, f"there is no class number {place}")
        return classes[place]

    # Images

    def images(self) -> list[dict[str, Any]]:
        """All of them, in the order in which they came."""
        return self._ask("SELECT * FROM images ORDER BY id")

    def image(self, number: int) -> dict[str, Any]:
        """One of them. RefusalError with 404: there is none."""
        rows = self._ask("SELECT * FROM images WHERE id = ?", number)
        if not rows:
            raise RefusalError(MISSING, f"there is no image {number} in this project")
        return rows[0]

    def add_image(self, name: str, path: str, size: tuple[int, int], *, uploaded: bool, query: bool) -> int:
        """Its id. A file that is there already is not added twice, but may become a query."""
        with self.change():
            known = self._ask("SELECT id FROM images WHERE path = ?", path)
            if known:
                if query:
                    self.change_image(known[0]["id"], query=1)
                return int(known[0]["id"])
            self._ask(
                "INSERT INTO images (name, path, uploaded, height, width, query) VALUES (?, ?, ?, ?, ?, ?)",
                name, path, int(uploaded), *size, int(query),
            )  # fmt: skip
            return int(self._ask("SELECT last_insert_rowid() AS id")[0]["id"])

    def change_image(self, number: int, **values: Any) -> None:
        """Set some of an image's columns."""
        assert values.keys() <= _IMAGE_COLUMNS
        kept = [json.dumps(v) if name in _AS_JSON and v is not None else v for name, v in values.items()]
        with self.change():
            self._ask(f"UPDATE images SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?", *kept, number)

    def remove_image(self, number: int) -> None:
        """Forget an image; of files only those that the project made go."""
        image = self.image(number)
        examples = [one["id"] for one in self.examples() if one["image"] == number]
        with self.change():
            self._ask("DELETE FROM images WHERE id = ?", number)
        files = [self.maps_file(number), self.mask_file(number), *map(self.example_file, examples)]
        for path in files + ([Path(self.path(image))] if image["uploaded"] else []):
            path.unlink(missing_ok=True)

    def path(self, image: Mapping[str, Any]) -> str:
        """Where an image's file is; uploaded ones move with the folder."""
        return str(self.folder / "images" / image["path"]) if image["uploaded"] else str(image["path"])

    def maps_file(self, number: int) -> Path:
        """Where the maps of an image are kept."""
        return self.folder / "maps" / f"{number}.npz"

    def mask_file(self, number: int) -> Path:
        """Where the accepted label map of an image is kept."""
        return self.folder / "masks" / f"{number}.png"

    def example_file(self, number: int) -> Path:
        """Where the mask of an example is kept that was made of an accepted result."""
        return self.folder / "examples" / f"{number}.png"

    # Examples

    def examples(self) -> list[dict[str, Any]]:
        """All of them, in the order in which they came: id, image, class (its name), hint."""
        return self._ask(
            "SELECT examples.id, image, classes.name AS class, hint FROM examples "
            "JOIN classes ON classes.id = class ORDER BY examples.id"
        )

    def example(self, number: int) -> dict[str, Any]:
        """One of them. RefusalError with 404: there is none."""
        found = next((one for one in self.examples() if one["id"] == number), None)
        if found is None:
            raise RefusalError(MISSING, f"there is no example {number} in this project")
        return found

    def add_example(self, image: int, class_name: str, hint: object) -> int:
        """Its id."""
        with self.change():
            values = self.image(image)["id"], self.add_class(class_name), json.dumps(hint)
            self._ask("INSERT INTO examples (image, class, hint) VALUES (?, ?, ?)", *values)
            return int(self._ask("SELECT last_insert_rowid() AS id")[0]["id"])

    def change_example(self, number: int, class_name: str, hint: object) -> None:
        """Give an example another class or hint."""
        with self.change():
            self.example(number)
            values = self.add_class(class_name), json.dumps(hint), number
            self._ask("UPDATE examples SET class = ?, hint = ? WHERE id = ?", *values)

    def remove_example(self, number: int) -> None:
        """Forget an example; its image stays."""
        with self.change():
            self.example(number)
            self._ask("DELETE FROM examples WHERE id = ?", number)
        self.example_file(number).unlink(missing_ok=True)


_HEADER: Final = ("application_id", "user_version")


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 200:
        raise RefusalError(BAD, "a class has a name of 1 to 200 characters")
    return name
