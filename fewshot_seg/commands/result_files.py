"""What segment leaves in a folder: results.jsonl, a line an image as it is done, and results.json, if it is few."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from fewshot_seg.commands.console import complain
from fewshot_seg.errors import ConfigError, OutputError, describe
from fewshot_seg.files import read_json, regular
from fewshot_seg.imaging.export import atomic_file, remove_leftovers, write_json
from fewshot_seg.locks import sole_user

MOST_IN_ONE: Final = 10_000
"""Images that results.json holds; of more there are lines alone."""
SUMMARY: Final = "results.json"
_LOG: Final = re.compile(r"results(-(\d{1,6})-of-\d{1,6})?\.jsonl")


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


@dataclass(frozen=True)
class Results:
    """What a folder's results say.

    Attributes:
        classes: label i of a mask is the i-th of them, unless the image's entry has classes of its own.
        images: the entries.
        made_by: digest of what decided the masks; None where that isn't one thing for all.
    """

    classes: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    made_by: str | None = None

    @property
    def files(self) -> set[str]:
        """The names of the files that it lists."""
        return {image[kind] for image in self.images for kind in ("mask", "overlay") if image["error"] is None}

    @property
    def stems(self) -> dict[str, str]:
        """Real path of an image -> what its files are called."""
        done = (image for image in self.images if image["error"] is None)
        return {os.path.realpath(image["path"]): image["mask"].removesuffix("_mask.png") for image in done}

    @property
    def done(self) -> set[str]:
        """Real paths of the images that have a result."""
        return {os.path.realpath(image["path"]) for image in self.images if image["error"] is None}

    def with_run(self, classes: list[str], entries: list[dict[str, Any]], made_by: str) -> Results:
        """The results after another run: its images' entries replace older ones, the others stay.

        New classes come after the older; where a run's own order is another, its entries say so ("classes").
        """
        latest = {os.path.realpath(entry["path"]): entry for entry in entries}
        others = [entry for entry in self.images if os.path.realpath(entry["path"]) not in latest]
        entries = list(latest.values())
        if not others:
            return Results(classes, entries, made_by)
        union = list(dict.fromkeys([*self.classes, *classes]))
        if union[: len(classes)] != classes:
            entries = [entry | {"classes": classes} for entry in entries]
        return Results(union, [*others, *entries], made_by if self.made_by == made_by else None)


def read_results(folder: Path) -> Results:
    """The results of earlier runs in a folder, of killed ones, too; none where there are none.

    Raises:
        ConfigError: a file of that name is another program's, or damaged.
    """
    found = _read_summary(folder / SUMMARY)
    for path in logs_in(folder):
        header, *entries = _lines(path)
        found = found.with_run(header["classes"], entries, header["made_by"])
    return found


def logs_in(folder: Path) -> list[Path]:
    """The logs in a folder, those of parts first ("-" comes before ".")."""
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - of a million files names are enough
    return sorted(
        (folder / name for name in names if _LOG.fullmatch(name)), key=lambda path: (len(path.name) < 15, path)
    )


def known_stems(folder: Path) -> dict[str, str]:
    """Real path of an image that the folder has results of -> what its files are called. ConfigError as of results."""
    found = _read_summary(folder / SUMMARY).stems
    for path in logs_in(folder):
        done = (entry for entry in _entries(path) if entry["error"] is None)
        found |= {os.path.realpath(one["path"]): one["mask"].removesuffix("_mask.png") for one in done}
    return found


def without_results(paths: Sequence[Path]) -> list[Path]:
    """The paths without the masks, overlays and cut-outs that a results.json beside them lists: an earlier run's."""
    written = {folder / name for folder in {path.parent for path in paths} for name in _listed(folder)}
    return [path for path in paths if path not in written]


def _listed(folder: Path) -> set[str]:
    try:
        return {
            f"{stem}_{kind}"
            for stem in known_stems(folder).values()
            for kind in ("mask.png", "overlay.jpg", "cutout.png")
        }
    except ConfigError:  # another program's
        return set()


@contextmanager
def held(folder: Path, shard: Shard | None) -> Iterator[None]:
    """Hold a folder for a run: alone, or for a part, beside others.

    Raises:
        ConfigError: another process is at work in it, or on this part. OutputError: it can't be written.
    """
    with ExitStack() as stack:
        if shard is None:
            stack.enter_context(sole_user(folder))
            parts = (_LOG.sub(r"\2", path.name) for path in logs_in(folder))
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
        earlier = next(_lines(self._path)) if os.path.lexists(self._path) else None
        goes_on, summary = earlier == header, _read_summary(folder / SUMMARY)
        if resume and ((earlier or header) != header or summary.made_by not in (None, digest)):
            raise ConfigError(f"{folder}: is of other examples or options; leave --resume out, or change --out")
        if resume and summary.made_by == digest:
            self.done = summary.done
        if not goes_on:
            self._fold()
        try:
            if not goes_on:
                with atomic_file(self._path) as new:
                    new.write(_line(header))
            self._stream: IO[bytes] = self._path.open("ab")
            self._stream.truncate(_whole_lines(self._path))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; check the folder and the space") from error
        if goes_on and resume:
            self._add_finished()

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry. OutputError: it can't be."""
        try:
            self._stream.write(_line(entry))
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
        for entry in _entries(self._path):
            (self.done.add if entry["error"] is None else self.done.discard)(os.path.realpath(entry["path"]))


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _read_summary(path: Path) -> Results:
    if not os.path.lexists(path):
        return Results()
    try:
        content = read_json(path)
        found = Results(list(content["classes"]), list(content["images"]), content.get("made_by"))
        names = [*found.classes, *found.files, *found.stems, *found.stems.values()]
        if path.is_symlink() or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_ours(path) from error
    return found


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    lines = _lines(path)
    next(lines)
    return lines


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """A log's header, then its entries; a last line that a kill cut short is none. ConfigError: another's, damaged."""
    number = 0
    try:
        if path.is_symlink():
            raise ValueError
        with regular(path).open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if number > 1 and not line.endswith(b"\n"):
                    break
                yield _checked(json.loads(line), number)
        if number == 0:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _not_ours(path, f", line {number}" if number > 1 else "") from error


def _checked(line: dict[str, Any], number: int) -> dict[str, Any]:
    if number == 1:
        texts = [line["made_by"], *line["classes"]]
    else:
        texts = [line["path"], *((line["mask"], line["overlay"]) if line["error"] is None else (line["error"],))]
        texts += [one["class"] for one in (*line["objects"], *line["absent"])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError
    return line


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
    paths = {os.path.realpath(entry["path"]) for entry in _read_summary(folder / SUMMARY).images}
    for path in logs_in(folder):
        for entry in _entries(path):
            paths.add(os.path.realpath(entry["path"]))
            if len(paths) > MOST_IN_ONE:
                return len(paths)
    return len(paths)


def _not_ours(path: Path, where: str = "") -> ConfigError:
    return ConfigError(f"{path}{where} is no result of an earlier run; move it, or choose another --out")
