"""What can be said of an index at a glance."""

from __future__ import annotations

from typing import Any

from fewshot_seg.retrieval.contents import Contents

__all__ = ["summary"]


def summary(contents: Contents) -> dict[str, Any]:
    """An index in numbers and names, as JSON values; `images` counts those that count, sizes are in bytes.

    Args:
        contents: the index, its pending segments opened.
    """
    identity = contents.identity
    segments = contents.segments
    marks = [mark for one in segments if one.entry for mark in one.entry.marks.values()]
    return {
        "folder": None if contents.folder is None else str(contents.folder),
        "complete": contents.complete,
        "images": len(contents.vectors),
        "dim": identity.dim,
        "embedder": {
            "source": identity.source,
            "backbone": identity.spec["backbone"],
            "preprocessing": dict(identity.spec["preprocessing"]),
            "weights_sha256": identity.weights,
        },
        "columns": list(contents.columns),
        "sources": [source.pattern for source in contents.sources],
        "segments": len(segments),
        "bytes": sum(mark.bytes for mark in marks),
        "removed_rows": sum(len(one.removed) for one in segments),
        "excluded": len(contents.excluded),
        "pending": sum(len(one) for one in contents.pending),
    }
