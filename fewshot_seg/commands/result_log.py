"""The log of a run of segment: opened, gone on with after a kill, shared by parts, and made results.json of."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from fewshot_seg.commands.console import complain
from fewshot_seg.commands.result_files import LOG, SUMMARY, entries_of, lines_of, logs_in, read_results, read_summary
from fewshot_seg.errors import ConfigError, OutputError, describe
from fewshot_seg.files import json_line
from fewshot_seg.imaging.export import atomic_file, remove_leftovers, write_json
from fewshot_seg.locks import sole_user

MOST_IN_ONE: Final = 10_000
"""Images that results.json holds; of more there are lines alone."""


@dataclass(frozen=True)
class Shard:
    """The part of the queries that is one process's: every `count`-th, from the `number`-th on."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/4". ConfigError otherwise."""
        found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if found is None or int(found[1]) > int(found[2]):
            raise ConfigError(f"--shard {text!r}: must be I/N, with I from 1 to N, as in 2/4")
        return cls(int(found[1]), int(found[2]))

    def of(self, items: Sequence[Any]) -> Sequence[Any]:
        """Its part."""
        return items[self.number - 1 :: self.count]


def log_name(shard: Shard | None) -> str:
    """What the log of a run, or of a part of it, is called."""
    return "results.jsonl" if shard is None else f"results-{shard.number}-of-{shard.count}.jsonl"


@contextmanager
def held(folder: Path, shard: Shard | None) -> Iterator[None]:
    """Hold a folder for a run: alone, or for a part, beside others.

    Raises:
        ConfigError: another process is at work in it, or on this part. OutputError: it can't be written.
    """
    with ExitStack() as stack:
        if shard is None:
            stack.enter_context(sole_user(folder))
            parts = (LOG.sub(r"\2", path.name) for path in logs_in(folder))
            for number in sorted({int(part) for part in parts if part}):
                stack.enter_context(sole_user(folder, number))
            remove_leftovers(folder)
        else:
            with sole_user(folder, on_wait=lambda: complain(f"{folder}: waiting for another process", kind="note")):
                stack.enter_context(sole_user(folder, shard.number))
        yield


class ResultsLog:
    """The log of a run, open: an entry is on disk before the next image is begun.

    A log that a run of the same `made_by` left goes on: of an image the last line counts. Another run's goes into
    results.json first. The caller holds the folder's lock.

    Args:
        folder: of the results.
        shard: the part that is this process's.
        classes: of the run.
        made_by: what decides the masks: supports, network, options; JSON values.
        resume: whether what is done is to stay: `done` says what is.

    Raises:
        ConfigError: a resumed run was made otherwise, another run's results are too many for results.json, or a file
            is another program's. OutputError: it can't be written.
    """

    def __init__(
        self, folder: Path, shard: Shard | None, classes: Sequence[str], made_by: object, resume: bool
    ) -> None:
        self._folder, self._path, self._shard = folder, folder / log_name(shard), shard
        digest = hashlib.sha256(json.dumps(made_by, sort_keys=True, default=str).encode()).hexdigest()
        self.done: set[str] = set()
        header = {"classes": list(classes), "made_by": digest}
        earlier = next(lines_of(self._path)) if os.path.lexists(self._path) else None
        goes_on, summary = earlier == header, read_summary(folder / SUMMARY)
        if resume and ((earlier or header) != header or summary.made_by not in (None, digest)):
            raise ConfigError(f"{folder}: is of other examples or options; leave --resume out, or change --out")
        if resume and summary.made_by == digest:
            self.done = set(summary.stems)
        if not goes_on:
            self._fold()
        try:
            if not goes_on:
                with atomic_file(self._path) as new:
                    new.write(json_line(header))
            self._stream: IO[bytes] = self._path.open("ab")
            self._stream.truncate(_whole_lines(self._path))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; check the folder and the space") from error
        if goes_on and resume:
            self._add_finished()

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry. OutputError: it can't be."""
        try:
            self._stream.write(json_line(entry))
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; check the space left") from error

    def close(self) -> bool:
        """End the run: write results.json of all that the folder holds, if it is few; whether that was done.

        Parts leave it to the next run, or to whoever reads the folder.
        """
        self._stream.close()
        if self._shard is not None or _count(self._folder) > MOST_IN_ONE:
            return False
        self._into_summary(logs_in(self._folder))
        return True

    def _fold(self) -> None:
        """What other runs have logged goes into results.json, before this log begins."""
        logs = [self._path] if self._shard is not None else logs_in(self._folder)
        logs = [path for path in logs if os.path.lexists(path)]
        if not logs:
            return
        if _count(self._folder) > MOST_IN_ONE:
            raise ConfigError(
                f"{describe(self._folder)}: holds results of more than {MOST_IN_ONE:,} images by other examples or "
                "options; choose another --out"
            )
        self._into_summary(logs)

    def _into_summary(self, logs: list[Path]) -> None:
        """Make results.json of all that is there, and remove the logs."""
        write_json(self._folder / SUMMARY, asdict(read_results(self._folder)))
        for path in logs:
            path.unlink()

    def _add_finished(self) -> None:
        """Of an image the last line counts."""
        for entry in entries_of(self._path):
            (self.done.add if entry["error"] is None else self.done.discard)(os.path.realpath(entry["path"]))


def _whole_lines(path: Path) -> int:
    """Bytes of a file up to the end of its last whole line."""
    size, step = path.stat().st_size, 2**20
    with path.open("rb") as stream:
        for end in range(size, 0, -step):
            start = max(0, end - step)
            stream.seek(start)
            found = stream.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
    return 0


def _count(folder: Path) -> int:
    """Images of the results in a folder, at most one more than results.json may hold."""
    paths = {os.path.realpath(entry["path"]) for entry in read_summary(folder / SUMMARY).images}
    for path in logs_in(folder):
        for entry in entries_of(path):
            paths.add(os.path.realpath(entry["path"]))
            if len(paths) > MOST_IN_ONE:
                return len(paths)
    return len(paths)
