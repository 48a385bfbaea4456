"""A run's folder: its config, and files of one JSON line for each episode that grow until all are there.

Lines are appended in the episodes' order and never changed; a program that is killed leaves at most one half
line, which is cut off before the next is written. Everything else is written whole (`export.atomic_file`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from fewshot_seg.commands.outputs import refuse_overwriting
from fewshot_seg.errors import ConfigError, DataError, FewShotError, OutputError, describe
from fewshot_seg.files import parse_json, read_json, regular
from fewshot_seg.imaging.export import is_temporary, make_folder, remove_leftovers, write_json
from fewshot_seg.locks import sole_user

CONFIG = "config.json"
_OF_DAMAGE: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@contextmanager
def held_folder(out: Path, root: Path, rank: int = 0) -> Iterator[None]:
    """A run's folder is this process's alone for the block; what killed processes left half written is removed.

    Args:
        out: created if need be.
        root: the data that the run reads.
        rank: of several processes that share the run, each holds its own part.

    Raises:
        ConfigError: it lies in the data, or holds other files and no run, before anything is touched; or another
            process is at work in it.
        OutputError: it can't be written.
    """
    refuse_overwriting([out], [root])
    _refuse_foreign(out)
    make_folder(out)
    with sole_user(out, rank):
        if rank == 0:
            remove_leftovers(out)
        yield


@contextmanager
def finished_runs(*folders: Path) -> Iterator[None]:
    """Files of finished runs are read in the block: what damaged ones make of code that trusts them is a DataError."""
    try:
        yield
    except FewShotError:
        raise
    except _OF_DAMAGE as error:
        where = ", ".join(describe(folder) for folder in folders)
        what = f"its files are damaged, or no run's of this version ({type(error).__name__}: {error})"
        raise DataError(f"{where}: {what}; bring them back, or run the evaluation again") from error


def refuse_foreign_table(path: Path) -> None:
    """Check that a file that sums up the runs in its folder is one of ours, or not there.

    Raises:
        ConfigError: it is there, and no folder of a run is below.
    """
    if path.is_symlink() or path.exists():
        for pattern in ("*", "*/*", "*/*/*"):
            for config in path.parent.glob(f"{pattern}/{CONFIG}"):
                with suppress(DataError):
                    if "run" in _read_config(config) and not path.is_symlink():
                        return
        raise ConfigError(f"{describe(path)}: is there, and no runs beside it; move it, or choose another --out")


def _refuse_foreign(out: Path) -> None:
    try:
        names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    except OSError as error:
        raise OutputError(f"{describe(out)}: cannot be listed ({error.strerror}); check the folder") from error
    foreign = {name for name in names if not is_temporary(name) and not re.fullmatch(r"\.lock(-\d+)?", name)}
    if foreign and CONFIG not in names:
        raise ConfigError(f"{describe(out)}: holds other files and no run (no {CONFIG}); choose another --out")
    if CONFIG in names and "run" not in _read_config(out / CONFIG):
        raise ConfigError(f"{describe(out)}: its {CONFIG} is no run's; choose another --out")


def claim_run(out: Path, config: Mapping[str, Any], free: Iterable[str] = ()) -> None:
    """Make `out` the folder of the run that `config` describes, or check that it is.

    Args:
        out: created if need be.
        config: JSON values.
        free: keys that may differ from the ones in the folder, which keep their values there.

    Raises:
        ConfigError: the folder holds a run of another config. OutputError: it can't be written.
    """
    make_folder(out)
    path = out / CONFIG
    if not path.exists():
        _refuse_foreign(out)
        write_json(path, config)
        return
    there = _read_config(path)
    keys = [key for key in sorted(set(there) | set(config)) if key not in set(free)]
    differing = [key for key in keys if there.get(key) != config.get(key)]
    if differing:
        changes = ", ".join(_change(key, there.get(key), config.get(key)) for key in differing)
        raise ConfigError(f"{describe(out)}: holds another run: {changes}; choose another --out")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The finished lines of a file that `append_lines` writes. An unterminated last one is a kill's trace, left out.

    Raises:
        DataError: another line is damaged. OutputError: the file can't be read. A file that isn't there has no lines.
    """
    return _whole(path)[0]


def append_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> Iterator[None]:
    """Cut off what `read_lines` leaves out, then write each line as it comes, and yield after each.

    Raises:
        OutputError: the file can't be written. What is whole by then stays.
    """
    end = _whole(path)[1]
    with _as_output_error(path):
        stream = path.open("ab")
    try:
        with _as_output_error(path):
            stream.truncate(end)
        for line in lines:
            with _as_output_error(path):
                stream.write(json.dumps(line).encode() + b"\n")
                stream.flush()
            yield
    finally:
        with _as_output_error(path):  # what could not be written is tried again
            stream.close()


def _whole(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines, and the byte after the last of them."""
    lines: list[dict[str, Any]] = []
    end = 0
    with _as_output_error(path):
        if not path.exists():
            return lines, end
        with regular(path).open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if not raw.endswith(b"\n"):
                    break
                if (line := _parse(raw)) is None:
                    where = f"{describe(path)}:{number}"
                    raise DataError(f"{where}: is damaged; bring the file back, or delete it to compute it anew")
                lines.append(line)
                end += len(raw)
    return lines, end


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{describe(path)}: cannot be read ({error}); choose another --out") from error
    if not isinstance(values, dict):
        raise DataError(f"{describe(path)}: is not a run's config; choose another --out")
    return values


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = parse_json(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{describe(path)}: {reason}; check the folder and the space left") from error


def _change(key: str, before: object, now: object) -> str:
    plain = not any(isinstance(value, dict | list) for value in (before, now))
    return f"{key} {json.dumps(before)}, now {json.dumps(now)}" if plain else f"another {key}"
