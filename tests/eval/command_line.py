"""`fewshot-eval` in this process."""

from __future__ import annotations

from dataclasses import dataclass

from typer.testing import CliRunner

from eval.cli import app


@dataclass(frozen=True)
class Done:
    """What came of a command; stderr without the lines by which a busy machine says how far it is."""

    returncode: int
    stdout: str
    stderr: str


def evaluate(*arguments: object) -> Done:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    lines = result.stderr.splitlines(keepends=True)
    return Done(result.exit_code, result.stdout, "".join(line for line in lines if not line.endswith(" s left\n")))
