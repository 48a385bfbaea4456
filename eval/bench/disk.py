"""Embedding images from disk, beside the bare forward pass on tensors that are in memory already."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from eval.bench.findings import SLOWER, Finding, Target, find
from eval.bench.setting import Setting, image_files, on_device
from eval.bench.timing import side_by_side
from fewshot_seg.imaging.images import load_batch
from fewshot_seg.network.embedding import Embedder, load_embedder
from fewshot_seg.network.embedding_stream import embed_stream

FROM_DISK, IN_MEMORY = "embedding images from disk", "the forward pass on tensors in memory"
TARGET: Final = Target(SLOWER, 1.15)
_KEPT = 64  # images that are in memory, in turn: a thousand would take 1.8 GB


def compare_disk(setting: Setting, folder: Path) -> list[Finding]:
    """Vectors of `setting.images` images; the network gets `setting.batch` at a time either way.

    Raises:
        DataError: no images.
    """
    files = image_files(setting, setting.images, folder)
    embedder = load_embedder(setting.weights, setting.device)
    kept = load_batch(files[:_KEPT], embedder)
    variants = {
        IN_MEMORY: on_device(lambda: _forward(embedder, kept, len(files), setting.batch), str(embedder.device)),
        FROM_DISK: lambda: _read(embedder, files, setting.batch),
    }
    memory, disk = side_by_side(variants, len(files), setting.few_rounds, setting.track)
    return [find(FROM_DISK, IN_MEMORY, f"{len(files)} images", (memory, disk), TARGET)]


@torch.inference_mode()
def _forward(embedder: Embedder, kept: torch.Tensor, count: int, batch: int) -> None:
    for start in range(0, count, batch):
        places = torch.arange(start, min(start + batch, count)) % len(kept)
        embedder(kept[places])


def _read(embedder: Embedder, files: list[Path], batch: int) -> None:
    for _ in embed_stream(embedder, files, batch_size=batch):
        pass
