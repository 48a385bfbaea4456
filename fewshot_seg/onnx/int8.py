"""The trunk of an exported embedder in 8-bit integers, and what that costs in agreement with the original."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import CheckpointError, DataError
from fewshot_seg.imaging.images import ImageInput, load_batch
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.onnx.export import INPUTS, OnnxModel, run_onnx

_LEAST: Final = 4

_QUANTIZED: Final = ("Conv", "Clip", "Relu", "Add")
"""What stays in 8 bits: with the convolutions alone every other step rounds what the next has to round again (on the
default network the vectors' cosine with the original was then 0.83 instead of 0.99)."""


def quantized(model: OnnxModel, embedder: Embedder, images: Sequence[ImageInput]) -> OnnxModel:
    """The model with its trunk in int8, weights by channel, activations by the range that images showed.

    Half of the images, every other one, give the ranges; on the other half the result is compared with the model.

    Args:
        model: from `to_onnx.export_onnx`.
        embedder: of which it was made.
        images: at least 4, of the kind that it will see; a hundred are better.

    Returns:
        A model whose facts say "precision": "int8" and, under "agreement", what `agreement` found.

    Raises:
        DataError: fewer than 4 images. ImageError: one that can't be read.
        CheckpointError: onnxruntime can't quantize it.
    """
    import onnx

    if len(images) < _LEAST:
        raise DataError(f"{len(images)} images to find the ranges of 8-bit numbers by: give at least {_LEAST}")
    batches = [load_batch([image], embedder).numpy() for image in images]
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        plain.write_bytes(model.to_bytes())
        _quantize(plain, small, batches[::2], embedder.dim)
        proto = onnx.load(str(small))
    made = OnnxModel(proto, {**model.facts, "precision": "int8"})
    found = agreement(model, made, batches[1::2], embedder.dim)
    return OnnxModel(proto, {**made.facts, "agreement": found})


def agreement(model: OnnxModel, other: OnnxModel, batches: Sequence[NDArray[np.float32]], dim: int) -> dict[str, Any]:
    """How far another model's vectors (D,) are from a model's, for batches (1,3,H,W).

    Returns:
        "images", their number; the mean and the lowest cosine of an image's two vectors; and by how much, on
        average and at most, the cosine between two of the images changes (None with one image).
    """
    own, others = (_vectors(one.to_bytes(), batches, dim) for one in (model, other))
    cosines = (own * others).sum(1)
    pairs = np.triu_indices(len(own), 1)
    changes = np.abs((own @ own.T)[pairs] - (others @ others.T)[pairs])
    return {
        "images": len(own),
        "mean_cosine": float(cosines.mean()),
        "lowest_cosine": float(cosines.min()),
        "mean_change_between_images": float(changes.mean()) if changes.size else None,
        "largest_change_between_images": float(changes.max()) if changes.size else None,
    }


def _vectors(content: bytes, batches: Sequence[NDArray[np.float32]], dim: int) -> NDArray[np.float32]:
    """(N,D), one batch after the other."""
    nobody = np.zeros((1, dim), np.float32)
    return np.concatenate([run_onnx(content, batch, nobody)[0] for batch in batches])


def _quantize(plain: Path, small: Path, batches: Sequence[NDArray[np.float32]], dim: int) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    waiting = iter([dict(zip(INPUTS, (batch, np.zeros((1, dim), np.float32)), strict=True)) for batch in batches])

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(waiting, None)

    root = logging.getLogger()
    root.addFilter(_is_no_advice)
    try:
        quantize_static(
            str(plain),
            str(small),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=_after_last_convolution(plain),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    except Exception as error:  # whatever a network's graph makes of onnxruntime's tools
        raise CheckpointError(f"onnxruntime cannot quantize this network ({error}): leave --int8 out") from error
    finally:
        root.removeFilter(_is_no_advice)


def _after_last_convolution(plain: Path) -> list[str]:
    """The nodes of head and attention, which stay in float32."""
    import onnx

    nodes = onnx.load(str(plain)).graph.node
    last = max(place for place, node in enumerate(nodes) if node.op_type == "Conv")
    return [node.name for node in list(nodes)[last + 1 :]]


def _is_no_advice(record: logging.LogRecord) -> bool:
    """Not what onnxruntime's tools say to the root logger: to prepare the model, which the exporter has done."""
    return record.levelno >= logging.ERROR or "onnxruntime" not in record.pathname
