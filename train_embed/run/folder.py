"""A run's folder: whose it is, and its log.

RUN/config.yaml        the configuration, whole; another one is refused
RUN/metrics.jsonl      one JSON object for each record
RUN/state.safetensors  all that is needed to go on (`train_embed.run.state`)
RUN/model.safetensors  the best weights so far, as `--weights` takes them
RUN/unreadable.json    file -> why it could not be read; there only where one could not
RUN/sheets/            attention maps on fixed validation tuples
RUN/curves.png, metrics.csv at the end
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fewshot_seg.errors import ConfigError, FewShotError, OutputError
from fewshot_seg.files import regular
from fewshot_seg.imaging.export import atomic_file, is_temporary, make_folder, remove_leftovers, write_json
from fewshot_seg.locks import sole_user
from train_embed.config.load import load_config, to_mapping, to_yaml
from train_embed.config.run_config import RunConfig

FREE = ("data.root", "run.workers", "run.tensorboard")
"""Keys that change no result: a run may go on with others."""


@contextmanager
def sole_training(path: Path) -> Iterator[None]:
    """Holds a run's folder for the block; temporary files that killed trainings left in it are removed.

    Raises:
        ConfigError: it holds other files and no run, before anything is touched; or another process is at work in it.
        OutputError: it can't be written.
    """
    _refuse_foreign(path)
    make_folder(path)
    with sole_user(path):
        for folder in (path, path / "sheets"):
            remove_leftovers(folder)
        yield


def _refuse_foreign(path: Path) -> None:
    """A killed start leaves a configuration, no more: that is no run yet, and blocks none."""
    names = {file.name for file in path.iterdir()} if path.is_dir() else set()
    others = {name for name in names if name != ".lock" and not is_temporary(name)}
    if "config.yaml" in names:
        try:
            load_config(str((path / "config.yaml").absolute()))
        except FewShotError as error:
            raise ConfigError(f"{path} holds a config.yaml that is no run's ({error}): choose another --out") from error
        if others & {"metrics.jsonl", "state.safetensors"}:
            return
    if others - {"config.yaml", "tensorboard"}:
        raise ConfigError(f"{path} holds other files and no run: choose another --out")


class RunFolder:
    """The folder of one run.

    Missing folders are made. With `resume` a run that is there goes on; without one, it is begun.

    Raises:
        ConfigError: a run is there and `resume` isn't set, or it has another configuration; or the folder holds
            other things.
        OutputError: it can't be written.
    """

    def __init__(self, path: Path, config: RunConfig, resume: bool) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.state = path / "state.safetensors"
        self.model = path / "model.safetensors"
        self.metrics = path / "metrics.jsonl"
        # A start that failed before its first record, for want of data, leaves only its configuration: no run yet.
        begun = self.config.exists() and (self.metrics.exists() or self.state.exists())
        if begun:
            self._check_same(config, resume)
        else:
            _refuse_foreign(path)
        make_folder(path)
        if not begun:
            with atomic_file(self.config) as stream:
                stream.write(to_yaml(config).encode())

    def _check_same(self, config: RunConfig, resume: bool) -> None:
        old, new = _flat(load_config(str(self.config.absolute()))), _flat(config)
        different = [key for key in new if key not in FREE and old.get(key) != new[key]]
        if different:
            key = different[0]
            more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
            raise ConfigError(
                f"{self.path} is a run of another configuration: {key} is {old.get(key)!r} there, "
                f"{new[key]!r} here{more}; choose another --out"
            )
        if not resume:
            raise ConfigError(f"{self.path} holds this run already: go on with --resume, or choose another --out")

    def log(self, record: Mapping[str, Any]) -> None:
        """Adds a line to metrics.jsonl. OutputError: it can't be written."""
        line = json.dumps({key: _number(value) for key, value in record.items()}, allow_nan=False)
        try:
            with self.metrics.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.metrics}: {error.strerror}") from error

    def keep_unreadable(self, found: Mapping[str, str]) -> list[str]:
        """Adds files that could not be read to unreadable.json; the reasons of those that it hadn't.

        Raises:
            OutputError: it can't be written.
        """
        path = self.path / "unreadable.json"
        known: dict[str, str] = {}
        if path.exists():
            with suppress(OSError, ValueError, TypeError, RecursionError):
                known = dict(json.loads(regular(path).read_bytes()))
        new = {file: reason for file, reason in found.items() if file not in known}
        if new:
            write_json(path, known | new)
        return [*new.values()]

    def cut_log(self, records: int) -> None:
        """Keeps the first lines of metrics.jsonl: what was logged after the state was taken will be again."""
        if not self.metrics.exists():
            return
        lines = self.metrics.read_bytes().splitlines(keepends=True)
        if len(lines) > records:
            with atomic_file(self.metrics) as stream:
                stream.write(b"".join(lines[:records]))


def _flat(config: RunConfig) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in to_mapping(config).items() for key, value in keys.items()}


def _number(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
