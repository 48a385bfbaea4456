"""The options that every command shares, and the embedder and segmenter that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewshot_seg.commands.way import Way

if TYPE_CHECKING:
    from fewshot_seg.network.embedding import Embedder
    from fewshot_seg.segmentation.segmenter import Segmenter


Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results; created if need be.")]
Weights = Annotated[
    str, typer.Option("--weights", "-w", help="A name from 'fewshot-seg models', or a checkpoint file.")
]
Device = Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")]
Precise = Annotated[Literal["fp32", "bf16", "fp16"], typer.Option("--precision", help="Number format of the network.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="CPU threads; default: all cores.")]


@dataclass(frozen=True)
class Engine:
    """Which network, where and how it runs, and the seed of everything random."""

    weights: Weights = "default"
    device: Device = "auto"
    precision: Precise = "fp32"
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same results.")] = 0
    threads: Threads = None

    def embedder(self) -> Embedder:
        """Load the embedder; `threads`, if given, holds from here on for this process.

        Raises:
            ConfigError, CheckpointError: from `load_embedder`.
        """
        from fewshot_seg.network.embedding import load_embedder

        self.set_threads()
        return load_embedder(self.weights, device=self.device, precision=self.precision)

    def set_threads(self) -> None:
        """Make `threads`, if given, hold for this process."""
        if self.threads is not None:
            import cv2
            import torch

            torch.set_num_threads(self.threads)
            cv2.setNumThreads(self.threads)

    def segmenter(self, way: Way | None = None) -> Segmenter:
        """The embedder in a `Segmenter` with this seed, which works in this way.

        Raises:
            ConfigError, CheckpointError: as `embedder`, or an option that doesn't fit.
        """
        from fewshot_seg.segmentation.segmenter import Segmenter, SegmenterOptions

        way = way or Way()
        options = SegmenterOptions.of_quality(way.quality, **way.changes(), seed=self.seed, threads=self.threads)
        return Segmenter(self.embedder(), options)
