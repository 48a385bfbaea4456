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
    from fewshot_seg import errors as errors
    from fewshot_seg.cutting import refine as refine
    from fewshot_seg.cutting import seeds as seeds
    from fewshot_seg.imaging import export as export
    from fewshot_seg.imaging import images as images
    from fewshot_seg.imaging import render as render
    from fewshot_seg.imaging.images import Preprocessing
    from fewshot_seg.matching.features import FeatureCache
    from fewshot_seg.network import backbones as backbones
    from fewshot_seg.network import checkpoints as checkpoints
    from fewshot_seg.network import embedding as embedding
    from fewshot_seg.network.embedding import Embedder, Embedding, load_embedder
    from fewshot_seg.prompts import hints as hints
    from fewshot_seg.prompts.hints import Hint, Query
    from fewshot_seg.prompts.supports import Support
    from fewshot_seg.retrieval.index import Index
    from fewshot_seg.segmentation import segmenter as segmenter
    from fewshot_seg.segmentation.options import SegmenterOptions
    from fewshot_seg.segmentation.results import Segmentation
    from fewshot_seg.segmentation.segmenter import Segmenter

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
    "Embedder": "network.embedding",
    "Embedding": "network.embedding",
    "FeatureCache": "matching.features",
    "Hint": "prompts.hints",
    "Index": "retrieval.index",
    "Preprocessing": "imaging.images",
    "Query": "prompts.hints",
    "Segmentation": "segmentation.results",
    "Segmenter": "segmentation.segmenter",
    "SegmenterOptions": "segmentation.options",
    "Support": "prompts.supports",
    "load_embedder": "network.embedding",
}
# Modules that are reached as attributes of the package: fs.images.load_batch.
_MODULES = {
    "attention": "attention",
    "backbones": "network.backbones",
    "checkpoints": "network.checkpoints",
    "embedding": "network.embedding",
    "errors": "errors",
    "export": "imaging.export",
    "hints": "prompts.hints",
    "images": "imaging.images",
    "refine": "cutting.refine",
    "render": "imaging.render",
    "seeds": "cutting.seeds",
    "segmenter": "segmentation.segmenter",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name in _HOMES:
        value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__ + list(_MODULES))
