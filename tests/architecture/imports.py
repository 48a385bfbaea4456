"""Which module of the three packages imports which, read from the source (nothing is imported)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fewshot_seg", "train_embed", "eval")


@dataclass(frozen=True)
class Arrow:
    """One import: `where` (file:line), module `source` brings in module `target`, to run or for types."""

    where: str
    source: str
    target: str


def arrows(package: str, root: Path = ROOT) -> list[Arrow]:
    """Every import of one of PACKAGES in `package`: at a module's top, in a function, for types."""
    return [arrow for path in sorted((root / package).rglob("*.py")) for arrow in _arrows_of(path, root)]


def _arrows_of(path: Path, root: Path) -> Iterator[Arrow]:
    relative = path.relative_to(root)
    source = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for target in _targets(node, source, root):
            if target.split(".")[0] in PACKAGES:
                yield Arrow(f"{relative}:{getattr(node, 'lineno', 0)}", source, target)


def _targets(node: ast.AST, source: str, root: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{source} imports relatively: write the module's whole name"
        for alias in node.names:
            if alias.name == "__version__":
                continue  # a fact, not a part
            inner = f"{node.module}.{alias.name}"
            yield inner if _is_module(inner, root) else str(node.module)


def _is_module(name: str, root: Path) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
