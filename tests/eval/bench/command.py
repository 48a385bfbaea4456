"""A comparison of the bench, run as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from eval.cli import app


def bench(folder: Path, name: str, options: str) -> tuple[str, dict[str, Any]]:
    """What it prints, and what bench.json has."""
    out = folder / "bench.json"
    done = CliRunner().invoke(app, ["bench", name, *options.split(), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return done.stdout, json.loads(out.read_text())
