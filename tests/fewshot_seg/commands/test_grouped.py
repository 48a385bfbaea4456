"""A dataclass of options is a group: a command takes it whole, and the command line has its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from fewshot_seg.commands.grouped import grouped


@dataclass(frozen=True)
class Near:
    """Options of one image."""

    boxes: Annotated[list[str] | None, typer.Option("--near-box")] = None
    power: Annotated[float, typer.Option(min=0)] = 1.0


@dataclass(frozen=True)
class Far:
    """Options of another, with a field of the same name."""

    boxes: Annotated[list[str] | None, typer.Option("--far-box")] = None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x.jpg", "x.jpg Near(boxes=None, power=1.0) Far(boxes=None) 4"),
        (
            "x.jpg --near-box 1 --near-box 2 --far-box 3 --power 2 --size 5",
            "x.jpg Near(boxes=['1', '2'], power=2.0) Far(boxes=['3']) 5",
        ),
    ],
)
def test_fields_are_options(line: str, expected: str) -> None:
    app = typer.Typer()

    @app.command()
    @grouped
    def show(image: str, near: Near, far: Far, size: int = 4) -> None:
        typer.echo(f"{image} {near} {far} {size}")

    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output
    assert done.output.strip() == expected
    assert CliRunner().invoke(app, ["x.jpg", "--power", "-1"]).exit_code == 2
