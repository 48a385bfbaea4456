"""What can be said of an index at a glance."""

from __future__ import annotations

from typing import Any

from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.folder import NAME


def summary(contents: Contents) -> dict[str, Any]:
    """An index in numbers and names, as JSON values; `images` counts those that count, sizes are in bytes.

    Args:
        contents: the index.
    """
    identity, config = contents.identity, contents.config
    files = [contents.folder / name for name in (NAME, config.vectors) if name] if contents.folder else []
    pending = sum(1 for _ in contents.pending())
    return {
        "folder": None if contents.folder is None else str(contents.folder),
        "complete": config.complete,
        "images": len(contents.vectors),
        "dim": identity.dim,
        "embedder": {
            "source": identity.source,
            "backbone": identity.spec["backbone"],
            "preprocessing": dict(identity.spec["preprocessing"]),
            "weights_sha256": identity.weights,
        },
        "columns": list(config.columns),
        "sources": [source.pattern for source in config.sources],
        "bytes": sum(path.stat().st_size for path in files if path.exists()),
        "removed_rows": config.counted - len(contents.slots),
        "excluded": len(config.excluded),
        "pending": pending,
    }
