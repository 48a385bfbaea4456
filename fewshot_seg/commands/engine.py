"""The options that every command shares, and the embedder and segmenter that they describe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewshot_seg.network.embedding import Embedder
    from fewshot_seg.segmentation.segmenter import Segmenter

__all__ = ["Engine", "Way"]


@dataclass(frozen=True)
class Way:
    """How objects are found and cut, as `SegmenterOptions` has it; what is None is as the quality has it."""

    quality: str = "default"
    locate_by: str = "auto"
    matcher: str = "auto"
    presence: float | None = None
    always: bool = False
    refine: str | None = None

    def changes(self) -> dict[str, Any]:
        """All but the quality, as far as it was chosen."""
        chosen = {name: value for name, value in asdict(self).items() if value is not None}
        del chosen["quality"]
        return chosen


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
