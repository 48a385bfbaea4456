"""Tables and figures in files of their own: of what is there, only what this program wrote is replaced."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fewshot_seg.commands.outputs import refuse_foreign, refuse_overwriting
from fewshot_seg.files import regular

if TYPE_CHECKING:
    from eval.tables.table import Table

_SEAL: Final = re.compile(rb"\n<!-- fewshot-eval ([0-9a-f]{32}) -->\n\Z")
_FIGURES: Final = (
    {"systems", "differences", "published", "bootstrap"},
    {"bench", "machine", "settings", "timings"},
    {"task", "mean", "sequences"},
)  # what a JSON file of each of our kinds has


def refuse_file(out: Path | None, inputs: Iterable[Path | None] = ()) -> None:
    """Check a place for tables or figures before anything is computed.

    Args:
        out: the file; None is fine.
        inputs: files and folders that the command reads.

    Raises:
        ConfigError: it lies in one of the inputs, or is there and not as this program wrote it.
    """
    if out is not None:
        refuse_overwriting([out], [path for path in inputs if path is not None])
        refuse_foreign([out], _is_ours)


def write_tables(out: Path, title: str, subtitle: str, tables: list[Table]) -> None:
    """Write tables as Markdown or HTML, as the file's ending says, under a seal: the digest of what is above it."""
    from eval.report.page import tables_page
    from eval.tables.table import markdown
    from fewshot_seg.imaging.export import atomic_file

    text = tables_page(title, subtitle, tables) if out.suffix == ".html" else markdown(tables)
    content = text.encode("utf-8", "backslashreplace")
    with atomic_file(out) as stream:
        stream.write(content + f"\n<!-- fewshot-eval {_digest(content)} -->\n".encode())


def _is_ours(path: Path) -> bool:
    try:
        content = regular(path).read_bytes()
        if path.suffix == ".json":
            return any(kind <= set(json.loads(content)) for kind in _FIGURES)
    except (OSError, ValueError, TypeError, RecursionError):
        return False
    seal = _SEAL.search(content)
    return seal is not None and seal[1].decode() == _digest(content[: seal.start()])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
