"""Cut the object of a support image out of other images, by similarity attention.

    import fewshot_seg as fs

    segmenter = fs.Segmenter(fs.load_embedder("default"))
    result = segmenter.segment("query.jpg", "support.jpg")
    result.mask  # (H, W) bool, at the query's native size

Importing this package is free: a public name brings in its module, and with it torch, on first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fewshot_seg.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    FewShotError,
    ImageError,
    OutputError,
    ShapeError,
)

if TYPE_CHECKING:
    from fewshot_seg import attention as attention
    from fewshot_seg import backbones as backbones
    from fewshot_seg import checkpoints as checkpoints
    from fewshot_seg import embedding as embedding
    from fewshot_seg import errors as errors
    from fewshot_seg import export as export
    from fewshot_seg import hints as hints
    from fewshot_seg import images as images
    from fewshot_seg import refine as refine
    from fewshot_seg import render as render
    from fewshot_seg import seeds as seeds
    from fewshot_seg import segmenter as segmenter
    from fewshot_seg.embedding import Embedder, Embedding, load_embedder
    from fewshot_seg.features import FeatureCache
    from fewshot_seg.hints import Hint, Query
    from fewshot_seg.images import Preprocessing
    from fewshot_seg.retrieval.index import Index
    from fewshot_seg.segmenter import Segmentation, Segmenter, SegmenterOptions, Support

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Embedder",
    "Embedding",
    "FeatureCache",
    "FewShotError",
    "Hint",
    "ImageError",
    "Index",
    "OutputError",
    "Preprocessing",
    "Query",
    "Segmentation",
    "Segmenter",
    "SegmenterOptions",
    "ShapeError",
    "Support",
    "__version__",
    "load_embedder",
]

_HOMES = {
    "Embedder": "embedding",
    "Embedding": "embedding",
    "FeatureCache": "features",
    "Hint": "hints",
    "Index": "retrieval.index",
    "Preprocessing": "images",
    "Query": "hints",
    "Segmentation": "segmenter",
    "Segmenter": "segmenter",
    "SegmenterOptions": "segmenter",
    "Support": "segmenter",
    "load_embedder": "embedding",
}
_MODULES = {
    "attention",
    "backbones",
    "checkpoints",
    "embedding",
    "errors",
    "export",
    "hints",
    "images",
    "refine",
    "render",
    "seeds",
    "segmenter",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__ + list(_MODULES))
