"""Installing the example package, or another one, into a folder as pip would, without pip."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def install_example(folder: Path) -> None:
    """The example package, as its pyproject.toml has it."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    shutil.copy(HERE / "fewshot_example.py", folder)
    install(folder, f"{project['name']}-{project['version']}", project["entry-points"])


def install(folder: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """A package's metadata, NAME-VERSION, with entry points group -> name -> place."""
    info = folder / f"{name.replace('-', '_', name.count('-') - 1)}.dist-info"
    info.mkdir()
    project, _, version = name.rpartition("-")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
    parts = [
        f"[{group}]\n" + "".join(f"{key} = {place}\n" for key, place in one.items()) for group, one in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(parts))
