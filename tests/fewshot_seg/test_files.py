"""Files of our own at the border: what is damaged, bottomless or too large is a ValueError, whatever it holds."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.files import parse_json, read_arrays, read_json

LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@settings(max_examples=200, derandomize=True, database=None)
@given(VALUES)
def test_json_that_we_write_is_read(value: object) -> None:
    text = json.dumps(value)
    assert json.dumps(parse_json(text)) == text


@settings(max_examples=200, derandomize=True, database=None)
@given(st.binary() | st.text())
def test_anything_else_is_a_value_error(text: bytes | str) -> None:
    with suppress(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1e999", "-Infinity", "9" * 400, "9" * 5000, str(2**63)]
)
def test_what_json_can_say_and_we_never_do(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"deeply|infinite|64 bits"):
        read_json(path)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (read_json, read_arrays):
        with pytest.raises(OSError, match="regular file"):
            read(tmp_path / "pipe")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_with_any_bytes_changed(tmp_path: Path, save: object) -> None:
    path = tmp_path / "file.npz"
    with path.open("wb") as stream:
        save(stream, a=np.arange(6).reshape(2, 3), b=np.array(["x", "yz"]))  # type: ignore[operator]
    whole = path.read_bytes()
    assert read_arrays(path)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    draw = random.Random(0)
    for _ in range(300):
        content = bytearray(whole[: draw.choice((len(whole), draw.randrange(len(whole))))])
        for _ in range(draw.randrange(4) if content else 0):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        with suppress(ValueError):
            assert all(isinstance(one, np.ndarray) for one in read_arrays(path).values())


def test_no_bomb_is_unpacked_and_no_header_believed(tmp_path: Path) -> None:
    bomb, forged = tmp_path / "bomb.npz", tmp_path / "forged.npz"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as one,
    ):
        for _ in range(1025):
            one.write(b"\0" * 2**20)
    with pytest.raises(ValueError, match="too large"):
        read_arrays(bomb)
    array = io.BytesIO()
    np.save(array, np.zeros((10, 3)))
    with zipfile.ZipFile(forged, "w") as archive:
        archive.writestr("a.npy", array.getvalue().replace(b"(10, 3), ", b"(10**12,)"))
        archive.writestr("b.npy", array.getvalue().replace(b"(10, 3)", b"(9e9, )"))
    with pytest.raises(ValueError, match="damaged"):
        read_arrays(forged)
