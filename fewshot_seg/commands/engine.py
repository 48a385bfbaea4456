"""The options that every command shares, and the embedder and segmenter that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fewshot_seg.embedding import Embedder
    from fewshot_seg.segmenter import Segmenter

__all__ = ["Engine", "Refine"]

Refine = Literal["grabcut", "none"]


@dataclass(frozen=True)
class Engine:
    """Which network, where and how it runs, and the seed of everything random."""

    weights: str = "default"
    device: str = "auto"
    precision: str = "fp32"
    seed: int = 0
    threads: int | None = None

    def embedder(self) -> Embedder:
        """Load the embedder; `threads`, if given, holds from here on for this process.

        Raises:
            ConfigError, CheckpointError: from `load_embedder`.
        """
        from fewshot_seg.embedding import load_embedder

        if self.threads is not None:
            import cv2
            import torch

            torch.set_num_threads(self.threads)
            cv2.setNumThreads(self.threads)
        return load_embedder(self.weights, device=self.device, precision=self.precision)

    def segmenter(self, refine: Refine = "grabcut") -> Segmenter:
        """The embedder in a `Segmenter` with this seed.

        Raises:
            ConfigError, CheckpointError: as `embedder`.
        """
        from fewshot_seg.segmenter import Segmenter, SegmenterOptions

        options = SegmenterOptions(seed=self.seed, refine=refine, threads=self.threads)
        return Segmenter(self.embedder(), options)
