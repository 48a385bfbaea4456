"""Several processes at one run: each predicts its share into files of its own, the first joins them.

They meet in the run's folder alone, which all must see. A share is every `count`-th episode. Files of shares
stay until the run's own file is complete, so nothing is lost with any of the processes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eval.runs.folder import read_lines
from fewshot_seg.errors import ConfigError, OutputError, describe
from fewshot_seg.imaging.export import atomic_file, make_folder, remove_leftovers

PLACE = "place"
"""In a share's file each line says at which place of the run it belongs."""

_PARTS = "parts"
_OURS = re.compile(r"predictions(-[\w-]+)?\.\d+-of-\d+\.jsonl|\d+-of-\d+\.done")
_POLL = 0.2  # seconds
_START = 600.0  # seconds for a process to load its weights and the data's list


@dataclass(frozen=True)
class Shard:
    """One process's place among all that work at a run.

    Attributes:
        rank: from 0; the first keeps the folder and scores.
        count: how many processes.
        local_rank: from 0 on each machine; which of its GPUs is used.
        local_count: how many processes share this machine's processors.

    Raises:
        ConfigError: no such place.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.count and self.local_rank >= 0 and self.local_count >= 1):
            here = f"{self.local_rank} of {self.local_count} on this machine"
            raise ConfigError(f"rank {self.rank} of {self.count}, {here}: no such process")

    @property
    def leads(self) -> bool:
        """Whether this is the process that keeps the folder, joins the shares and scores."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """The places, of `total`, that are this process's."""
        return range(self.rank, total, self.count)


ALONE: Final = Shard()


def shard_of(environment: Mapping[str, str]) -> Shard:
    """The shard that torchrun's variables name (RANK, WORLD_SIZE, and of each machine LOCAL_RANK, LOCAL_WORLD_SIZE).

    Without the first two it is the only one.

    Raises:
        ConfigError: they are no numbers, or don't belong together.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return Shard()
    defaults = {"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    values = {name: environment.get(name, value) for name, value in defaults.items()}
    if not all(value.isdecimal() for value in values.values()):
        told = ", ".join(f"{name}={value}" for name, value in values.items())
        raise ConfigError(f"{told}: must be numbers; start with torchrun, or unset them")
    return Shard(*map(int, values.values()))


def part_file(path: Path, shard: Shard) -> Path:
    """Where a process writes its share of the predictions that belong into `path`.

    Raises:
        ConfigError: a link is in its place. OutputError: the folder can't be made.
    """
    if (path.parent / _PARTS).is_symlink():
        raise ConfigError(f"{describe(path.parent / _PARTS)}: is a link, and no run's; remove it")
    return make_folder(path.parent / _PARTS) / f"{path.stem}.{shard.rank}-of-{shard.count}.jsonl"


def read_parts(path: Path) -> dict[int, dict[str, Any]]:
    """Place -> line of everything in the shares of `path`, whatever number of processes wrote them."""
    found: dict[int, dict[str, Any]] = {}
    for part in sorted((path.parent / _PARTS).glob(f"{path.stem}.*-of-*.jsonl")):
        for line in read_lines(part):
            place = line.pop(PLACE, None)
            if isinstance(place, int):
                found[place] = line
    return found


def mark_done(out: Path, shard: Shard) -> None:
    """Say that this process's share, of which it wrote some, is complete. OutputError: the folder can't be written."""
    try:
        with atomic_file(_marker(out, shard)):
            pass
    except OutputError:
        if (out / _PARTS).exists():  # else the leader has found everything there, and is done
            raise


def wait_for_others(out: Path, shard: Shard, ranks: Iterable[int]) -> None:
    """Wait until those of `ranks` that aren't this process's have marked their shares as complete.

    For ever, if one of them ends before that: torchrun then ends this one, too.
    """
    others = [_marker(out, Shard(rank, shard.count)) for rank in ranks if rank != shard.rank]
    while not all(path.exists() for path in others):
        time.sleep(_POLL)


def wait_for_files(out: Path, files: Iterable[str]) -> None:
    """Wait until the leader has written `files`. OutputError: they didn't come in ten minutes."""
    end = time.monotonic() + _START
    while not all((out / name).exists() for name in files):
        if time.monotonic() > end:
            raise OutputError(f"{describe(out)}: rank 0 has not begun; all processes must see the same folder")
        time.sleep(_POLL)


def drop_parts(out: Path) -> None:
    """Remove the shares of a run whose own files are complete, and nothing else."""
    parts = out / _PARTS
    if parts.is_symlink() or not parts.is_dir():
        return
    for path in parts.iterdir():
        if _OURS.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with suppress(OSError):
                path.unlink()
    remove_leftovers(parts)
    with suppress(OSError):  # another's file is in it
        parts.rmdir()


def _marker(out: Path, shard: Shard) -> Path:
    return out / _PARTS / f"{shard.rank}-of-{shard.count}.done"
