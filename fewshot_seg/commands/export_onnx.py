"""`fewshot-seg export-onnx`: an embedder or the segmenter as an ONNX file, checked, in 8-bit integers if asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_seg.commands.scenes import scenes
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.export import atomic_file, make_folder
from fewshot_seg.imaging.images import ImageInput, find_images
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.onnx.export import export_onnx
from fewshot_seg.onnx.int8 import quantized
from fewshot_seg.onnx.segmenter import export_segmenter

SUFFIX = ".onnx"


@dataclass(frozen=True)
class OnnxRequest:
    """What `fewshot-seg export-onnx` was asked to do.

    Attributes:
        weights: as `load_embedder` takes them.
        out: the file, which ends in .onnx.
        through_norm: of attention.
        int8: whether the trunk is to be in 8-bit integers.
        images: files, folders or globs whose images give their ranges; none: the demo's photographs.
        segmenter: the network with its matcher, instead of the embedder with attention.
        shots: how many supports the segmenter takes.
        matcher: as `SegmenterOptions.matcher`.
    """

    weights: str
    out: Path
    through_norm: bool = False
    int8: bool = False
    images: Sequence[str] = ()
    segmenter: bool = False
    shots: int = 1
    matcher: str = "auto"


def run_export_onnx(request: OnnxRequest) -> dict[str, Any]:
    """Write the file, whole or not at all; what its metadata say, and "bytes", its size.

    Raises:
        ConfigError: another suffix, images without int8, packages that are missing, a head without a closed form.
        CheckpointError: bad weights, or a network that can't be exported. DataError, ImageError: the images.
        OutputError: the file can't be written.
    """
    if request.out.suffix != SUFFIX:
        raise ConfigError(f"{request.out}: an ONNX file's name must end in {SUFFIX}")
    if request.images and not request.int8:
        raise ConfigError("--images: they give the ranges of 8-bit numbers, so give --int8, too")
    if request.segmenter and (request.int8 or request.through_norm):
        raise ConfigError("--what segmenter: leave out --int8 and --through-norm, which are of the embedder")
    embedder = load_embedder(request.weights, device="cpu")
    if request.segmenter:
        model = export_segmenter(embedder, shots=request.shots, matcher=request.matcher)
    else:
        model = export_onnx(embedder, through_norm=request.through_norm)
    if request.int8:
        model = quantized(model, embedder, _images(request.images))
    content = model.to_bytes()
    make_folder(request.out.parent)
    with atomic_file(request.out) as stream:
        stream.write(content)
    return {**model.facts, "bytes": len(content)}


def _images(patterns: Sequence[str]) -> Sequence[ImageInput]:
    if patterns:
        return [os.fspath(path) for path in find_images(patterns)]
    return [picture.image for scene in scenes() for picture in (scene.query, *scene.supports.values())]
