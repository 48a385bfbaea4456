"""Ways to spoil a file: as disks, tools and attackers do. Each is a function of a random stream."""

from __future__ import annotations

import io
import json
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

Mutation = Callable[[Path, random.Random], None]

DEEP: Final = "[" * 100_000
ODD: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0, 2**31, 2**70, 1e300, float("nan"), float("inf"), 0.5, "", "x", "../../../etc/passwd", "\0"),
    *(
        [],
        {},
        [[]],
        [None],
        [[0, 10**12]],
        {"a": {}},
        "9" * 5000,
        "Ä" * 300,
        ["x"] * 50,
        {"size": [9, 9], "counts": "abc"},
    ),
)


def flip(path: Path, draw: random.Random) -> None:
    """Some bytes are others."""
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 3, 20)) if content else 0):
        content[draw.randrange(len(content))] = draw.choice((0, 0xFF, 0x20, draw.randrange(256)))
    path.write_bytes(content)


def head(path: Path, draw: random.Random) -> None:
    """As `flip`, near the start, where most formats say what comes."""
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 2, 6)) if content else 0):
        content[draw.randrange(min(len(content), 120))] = draw.randrange(256)
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    """Only the first bytes are there, or none."""
    content = path.read_bytes()
    path.write_bytes(content[: draw.choice((0, 1, draw.randrange(len(content) + 1)))])


def slices(path: Path, draw: random.Random) -> None:
    """A part comes twice, or elsewhere, or is nothing but zeros."""
    content = path.read_bytes()
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    part = draw.choice((content[start:end] * 2, b"\0" * (end - start), os.urandom(0), draw.randbytes(end - start)))
    path.write_bytes(content[:start] + part + content[end:])


def other(path: Path, draw: random.Random) -> None:
    """Another kind of file by this name."""
    kinds = (
        b"hello\n",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04" + b"\0" * 40,
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe\0",
        DEEP.encode(),
    )
    path.write_bytes(draw.choice(kinds))


def no_file(path: Path, draw: random.Random) -> None:
    """Gone, a folder, a pipe, or a link to nothing, to itself or to a device."""
    path.unlink()
    kind = draw.randrange(6)
    if kind == 1:
        path.mkdir()
    elif kind == 2:
        os.mkfifo(path)
    elif kind > 2:
        path.symlink_to(("nothing", path.name, "/dev/zero")[kind - 3])


def values(path: Path, draw: random.Random) -> None:
    """Of JSON, one line or all of it, one value is another, is gone or comes twice."""
    lines = path.read_bytes().splitlines(keepends=True) if path.suffix == ".jsonl" else [path.read_bytes()]
    place = draw.randrange(len(lines)) if lines else 0
    try:
        content = json.loads(lines[place])
    except (ValueError, IndexError):
        return flip(path, draw)
    end = b"\n" if lines[place].endswith(b"\n") else b""
    lines[place] = dumped(change(content, draw)).encode() + end
    path.write_bytes(b"".join(lines))
    return None


def dumped(content: Any) -> str:
    return json.dumps(content).replace('"deep"', DEEP).replace('"huge"', "1" + "0" * 400)


def change(content: Any, draw: random.Random) -> Any:
    """A JSON value in which one value is odd, is gone or comes twice."""
    nodes: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            nodes.append((node, key))
            walk(node[key])

    walk(content)
    if not nodes:
        return draw.choice(ODD)
    node, key = draw.choice(nodes)
    action = draw.randrange(6)
    if action == 0:
        del node[key]
    elif action == 1 and isinstance(node, list):
        node.insert(key, node[key])
    else:
        node[key] = draw.choice((*ODD, "deep", "huge"))
    return content


def text(path: Path, draw: random.Random) -> None:
    """Of a text file one line, or one field of it, is odd."""
    lines = path.read_text("utf-8", "replace").splitlines()
    odd = draw.choice(
        (
            "",
            " ",
            "x",
            "-1",
            "1e400",
            "9" * 5000,
            "\0",
            '"',
            "a,b,c,d,e,f,g,h",
            "../..",
            "nan",
            "{}",
            "&a [*a]",
            "!!python/x y",
        )
    )
    if not lines:
        lines = [odd]
    place = draw.randrange(len(lines))
    fields = lines[place].split(draw.choice((",", "__", ": ", " ")))
    fields[draw.randrange(len(fields))] = odd
    lines[place] = draw.choice(
        (odd, ",".join(fields), ": ".join(fields), lines[place] + odd, f"{lines[place]}\n{lines[place]}")
    )
    path.write_text("\n".join(lines) + "\n", "utf-8")


def arrays(path: Path, draw: random.Random) -> None:
    """Of a .npz file one array has another shape, type or values, or is gone; or its header tells of 7 TiB."""
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored.files}
    name = draw.choice(list(content))
    one = content[name]
    odd = [one.ravel()[:1], one[..., None], np.array("x"), np.full((3, 3), np.nan)]
    if one.dtype.kind in "iuf":
        odd += [one.astype(np.float16), np.full_like(one, 113)]
    content[name] = draw.choice(odd)
    if draw.randrange(5) == 0:
        del content[name]
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    written = buffer.getvalue()
    if draw.randrange(4) == 0:
        written = written.replace(b"'shape': (", b"'shape': (9999999999999, ", 1)
    path.write_bytes(written)


def tensors(path: Path, draw: random.Random) -> None:
    """Of a safetensors file one value of the header, or of the JSON text in it, is odd."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    meta = header.get("__metadata__", {})
    if meta and draw.randrange(3):
        key = draw.choice(list(meta))
        try:
            meta[key] = (
                json.dumps(change(json.loads(meta[key]), draw))
                .replace('"deep"', DEEP)
                .replace('"huge"', "1" + "0" * 400)
            )
        except ValueError:
            meta[key] = "x"
    else:
        header = change(header, draw)
    made = json.dumps(header).encode()
    path.write_bytes(len(made).to_bytes(8, "little") + made + content[8 + length :])


def rows(path: Path, draw: random.Random) -> None:
    """In a database one value is odd, or a row is gone."""
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        table = draw.choice([name for name in tables if not name.startswith("sqlite_")])
        columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
        odd = draw.choice(
            (
                None,
                -1,
                2**62,
                1e300,
                "",
                "x",
                "[[0, 1000000000000]]",
                '{"a": 1}',
                DEEP,
                b"\0\1",
                "/dev/zero",
                "9" * 5000,
            )
        )
        try:
            where = f"rowid in (select rowid from {table} order by rowid limit 1 offset {draw.randrange(3)})"
            if draw.randrange(4) == 0:
                database.execute(f"delete from {table} where {where}")
            else:
                database.execute(f"update {table} set {draw.choice(columns)} = ? where {where}", (odd,))
        except sqlite3.Error:
            database.execute("pragma user_version = 77")


RAW: Final[tuple[Mutation, ...]] = (flip, head, cut, slices, other, no_file)
BY_KIND: Final[dict[str, tuple[Mutation, ...]]] = {
    ".json": (values,),
    ".jsonl": (values, text),
    ".npz": (arrays,),
    ".safetensors": (tensors,),
    ".db": (rows,),
    ".csv": (text,),
    ".txt": (text,),
    ".yaml": (text,),
}


def spoil(path: Path, draw: random.Random) -> str:
    """Spoil a file, and say how."""
    own = BY_KIND.get(path.suffix, ())
    chosen = draw.choice(own) if own and draw.randrange(2) else draw.choice(RAW)
    chosen(path, draw)
    return chosen.__name__
