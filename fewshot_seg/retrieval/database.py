"""The database of an index: everything but its vectors, in one SQLite file that others can read, too.

Row by row it says in which place (slot) of the vectors' file an image's vector is. Its `config` is one JSON object. A
row keeps checksums of itself and of its vector, for SQLite notices damaged pages, not damaged values.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, OutputError, describe
from fewshot_seg.files import parse_json
from fewshot_seg.retrieval.identity import Identity
from fewshot_seg.retrieval.rows import Root, Row, Source, Stamp

FORMAT: Final = 2
VECTORS: Final = re.compile(r"vectors-[0-9a-f]{16}\.f32")
APPLICATION: Final = int.from_bytes(b"FSSG")  # in the file's header: this program's
WAIT: Final = 60  # seconds for another process's transaction, which take a fraction of one
MEND: Final = "restore it from a copy, or build the index again"

_SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
CREATE TABLE config (value TEXT NOT NULL, crc32 INTEGER NOT NULL);
CREATE TABLE rows (
    slot INTEGER PRIMARY KEY, vector_crc32 INTEGER NOT NULL, row_crc32 INTEGER NOT NULL, path TEXT NOT NULL,
    root INTEGER, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, digest TEXT NOT NULL, columns TEXT NOT NULL
);
"""
# A path that is no UTF-8 is kept as it is; SQLite doesn't mind.
_INSERT: Final = "INSERT INTO rows VALUES (?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?)"
_TYPES: Final = """
    SELECT count(*) FROM rows WHERE typeof(vector_crc32) || typeof(row_crc32) || typeof(size) || typeof(mtime_ns) <>
    'integerintegerintegerinteger' OR typeof(path) || typeof(digest) || typeof(columns) <> 'texttexttext'
    OR slot < 0 OR slot >= ? OR typeof(root) NOT IN ('null', 'integer') OR root < 0 OR root >= ?
"""


@dataclass(frozen=True)
class Config:
    """What is true of an index as a whole.

    Attributes:
        identity: whose vectors.
        vectors: name of the file that holds them.
        counted: rows in slots below belong to the index; later ones are pending, of work that was interrupted.
        end: slots in use. Only those from here on are written to, for others may be reading the ones before.
        complete: False while the first build is under way: there is no index yet.
        stale: names of files of vectors that are to be removed.
        roots: folders that relative paths count from.
        sources: folders and patterns that were given, for `update` to look through.
        excluded: (path, root) of images that were removed by name, which `update` must not bring back.
        columns: names, in order of their first appearance.
    """

    identity: Identity
    vectors: str = ""
    counted: int = 0
    end: int = 0
    complete: bool = False
    stale: tuple[str, ...] = ()
    roots: tuple[Root, ...] = ()
    sources: tuple[Source, ...] = ()
    excluded: tuple[tuple[str, int | None], ...] = ()
    columns: tuple[str, ...] = ()


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """What goes wrong while a database is read, as a DataError that names it."""
    try:
        yield
    except (sqlite3.Error, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, no right to read, a disk's error
            raise DataError(f"{describe(path)}: cannot be read ({error}); check the folder, then try again") from error
        raise DataError(f"{describe(path)}: is damaged ({str(error) or type(error).__name__}); {MEND}") from error


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """All of the block's changes, or none. OutputError: they can't be written."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise OutputError(f"{describe(path)}: cannot write ({error}); check the folder and the disk") from error


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection to a file's database; SQLite first undoes what a killed process left half done. `damage` explains.

    With `create` what isn't there yet is made; the caller writes a config.
    """
    mode = "rwc" if create else "rw"
    connection = _set_up(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", WAIT, uri=True))
    try:
        (pages,), (application,), (version,), (size,) = (
            connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "application_id", "user_version", "page_size")
        )
        if pages and application == APPLICATION and version > FORMAT:
            raise DataError(f"{describe(path)}: has format {version}: a newer fewshot-seg wrote it; upgrade")
        if (pages or not create) and (application, version) != (APPLICATION, FORMAT):
            raise DataError(f"{describe(path)}: holds no index, or its build was interrupted at once; build it again")
        if path.stat().st_size < pages * size:
            raise DataError(f"{describe(path)}: is cut short; {MEND}")
    except BaseException:
        connection.close()
        raise
    return connection


def in_memory() -> sqlite3.Connection:
    """A new database without rows."""
    connection = _set_up(sqlite3.connect(":memory:", check_same_thread=False))
    connection.executescript(_SCHEMA)
    return connection


def copy_of(source: sqlite3.Connection, where: str = "") -> sqlite3.Connection:
    """A copy of one's own, as of now: in a temporary file that SQLite keeps in memory while it is small."""
    copy = _set_up(sqlite3.connect(where, check_same_thread=False))
    copy.execute("PRAGMA synchronous = OFF")
    source.backup(copy)
    return copy


def read_config(connection: sqlite3.Connection) -> Config:
    """The config, and all rows' types and numbers checked: after this they can be trusted. `damage` explains."""
    ((text, checksum),) = connection.execute("SELECT value, crc32 FROM config").fetchall()
    if zlib.crc32(text.encode("utf-8", "surrogateescape")) != checksum:
        raise ValueError("its config has another checksum")
    values = parse_json(text)
    config = Config(
        **values
        | {
            "identity": Identity(**values["identity"]),
            "roots": tuple(Root(**one) for one in values["roots"]),
            "sources": tuple(Source(**one) for one in values["sources"]),
            "excluded": tuple((path, root) for path, root in values["excluded"]),
            "columns": tuple(values["columns"]),
            "stale": tuple(values["stale"]),
        }
    )
    numbers = (config.identity.dim, config.end, config.counted)
    if not all(type(number) is int for number in numbers) or not 0 <= config.counted <= config.end < 2**48:
        raise ValueError("its numbers don't fit")
    places = [root for _, root in config.excluded] + [source.root for source in config.sources]
    if not all(root is None or root in range(len(config.roots)) for root in places) or config.identity.dim < 1:
        raise ValueError("its numbers don't fit")
    if not all(VECTORS.fullmatch(name) for name in (config.vectors, *config.stale) if name):
        raise ValueError("its files have strange names")
    if connection.execute(_TYPES, (config.end, len(config.roots))).fetchone()[0]:
        raise ValueError("its rows don't fit")
    return config


def write_config(connection: sqlite3.Connection, config: Config) -> None:
    """Replace the config, in a new database with its tables; within a `transaction`."""
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        for statement in _SCHEMA.split(";")[:-1]:
            connection.execute(statement)
    connection.execute("DELETE FROM config")
    # Only ASCII: names that are not valid UTF-8 come back as they were.
    text = json.dumps(asdict(config))
    connection.execute("INSERT INTO config VALUES (?, ?)", (text, zlib.crc32(text.encode())))


def insert_rows(connection: sqlite3.Connection, start: int, rows: Sequence[Row], vectors: NDArray[np.float32]) -> None:
    """Rows whose vectors (n, D) are in the slots from `start` on; within a `transaction`."""
    lines = []
    for slot, (row, vector) in enumerate(zip(rows, vectors, strict=True), start=start):
        path = row.path.encode("utf-8", "surrogateescape")
        values = (path, row.root, *row.stamp, row.digest, json.dumps(dict(row.columns)))
        lines.append((slot, vector_sum(vector), _row_sum(values), *values))
    connection.executemany(_INSERT, lines)


def copy_rows(connection: sqlite3.Connection, source: sqlite3.Connection, slots: Iterable[int]) -> None:
    """Replace all rows by some of another database, with their checksums, in slots from 0 on; in a `transaction`."""
    connection.execute("DELETE FROM rows")
    query = "SELECT vector_crc32, row_crc32, CAST(path AS BLOB), root, size, mtime_ns, digest, columns FROM rows"
    found = (source.execute(f"{query} WHERE slot = ?", (int(slot),)).fetchone() for slot in slots)
    connection.executemany(_INSERT, ((slot, *values) for slot, values in enumerate(found)))


def read_rows(connection: sqlite3.Connection, first: int, end: int) -> Iterator[tuple[int, Row]]:
    """Slot and row of what is in slots `first` to `end` - 1, rising."""
    query = (
        "SELECT slot, path, root, size, mtime_ns, digest, columns FROM rows WHERE slot >= ? AND slot < ? ORDER BY slot"
    )
    for slot, path, root, size, mtime_ns, digest, columns in connection.execute(query, (first, end)):
        yield slot, Row(path, root, Stamp(size, mtime_ns), digest, parse_json(columns))


def rows_damaged(connection: sqlite3.Connection) -> bool:
    """Whether a page is damaged, or a row differs from its checksum."""
    if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
        return True
    query = "SELECT row_crc32, CAST(path AS BLOB), root, size, mtime_ns, digest, columns FROM rows"
    return any(_row_sum(values) != checksum for checksum, *values in connection.execute(query))


def vector_sum(vector: NDArray[np.float32]) -> int:
    """The checksum that a row keeps of its vector (D,)."""
    return zlib.crc32(np.ascontiguousarray(vector, "<f4").data)


def _row_sum(values: Sequence[Any]) -> int:
    return zlib.crc32(repr(tuple(values)).encode())


def _set_up(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.isolation_level = None  # transactions are ours to begin
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    return connection
