"""Running the commands in this process, and reading what they leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from fewshot_seg.cli import app


def fewshot(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_line(result: Result) -> str:
    """The one line on stderr of a command that failed, without a traceback."""
    assert result.exit_code not in (0, None)
    assert isinstance(result.exception, SystemExit), result.exception
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("fewshot-seg: error: ")
    return lines[0]


def results_of(out: Path, name: str = "results.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / name).read_text("utf-8"))
    return content


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same_files(one: Path, other: Path, names: Sequence[str]) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
