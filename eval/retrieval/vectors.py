"""Every image's vector, computed once and kept in the run's folder in blocks: an interrupted run goes on.

A block holds some hundreds of images in a row and is written whole or not at all, so that kill -9 loses at most the
block under way. Which weights and images the blocks belong to is the run's config's concern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewshot_seg.errors import FewShotError
from fewshot_seg.files import read_arrays
from fewshot_seg.imaging.export import atomic_file, make_folder
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.network.embedding_stream import embed_stream
from fewshot_seg.streams import Track

BLOCK = 256
_BATCH = 32  # images at once on a GPU


@dataclass(frozen=True)
class Vectors:
    """What the network says of I images.

    Attributes:
        values: (I,D) float32 unit-norm vectors on the CPU; zeros where an image can't be read.
        unreadable: image's place -> why.
    """

    values: Tensor
    unreadable: dict[int, str]


@dataclass(frozen=True)
class _Block:
    """The vectors (n,D) of some images in a row; a text for each, "" where it could be read."""

    values: np.ndarray
    problems: list[str]


def embed_files(
    paths: Sequence[Path], embedder: Embedder, folder: Path, track: Track, what: str, workers: int | None = None
) -> Vectors:
    """The vectors of image files, of which those in `folder` aren't computed again.

    On the CPU neither the number of workers nor an interruption changes a bit of them; on a GPU the last bits can
    depend on the batch.

    Args:
        paths: the files.
        embedder: whose vectors.
        folder: where blocks are kept; created if need be.
        track: shows progress, in images.
        what: its words.
        workers: threads that read, and on the CPU work; None means the machine's processors, at most 8.

    Raises:
        OutputError: the folder can't be written.
    """
    make_folder(folder)
    starts = range(0, len(paths), BLOCK)
    blocks = {start: _read_block(_file(folder, start), min(BLOCK, len(paths) - start)) for start in starts}
    missing = [start for start in starts if blocks[start] is None]
    wanted = [path for start in missing for path in paths[start : start + BLOCK]]
    if wanted:
        stream = embed_stream(embedder, wanted, _BATCH, workers, on_error="yield")
        made = track(stream, len(wanted), what)
        for start in missing:
            rows = [next(made) for _ in range(min(BLOCK, len(paths) - start))]
            blocks[start] = block = _block(rows, embedder.dim)
            _write_block(_file(folder, start), block)
        for _ in made:  # nothing is left, but the progress ends
            pass
    done = [block for block in blocks.values() if block is not None]
    problems = [problem for block in done for problem in block.problems]
    values = np.concatenate([block.values for block in done]) if done else np.zeros((0, embedder.dim), np.float32)
    return Vectors(torch.from_numpy(values), {place: why for place, why in enumerate(problems) if why})


def _block(rows: Sequence[Tensor | FewShotError], dim: int) -> _Block:
    values = np.zeros((len(rows), dim), np.float32)
    for place, row in enumerate(rows):
        if isinstance(row, Tensor):
            values[place] = row.numpy()
    return _Block(values, ["" if isinstance(row, Tensor) else str(row) for row in rows])


def _file(folder: Path, start: int) -> Path:
    return folder / f"{start // BLOCK:06d}.npz"


def _write_block(path: Path, block: _Block) -> None:
    with atomic_file(path) as stream:
        np.savez(stream, vectors=block.values, problems=np.array(block.problems))


def _read_block(path: Path, count: int) -> _Block | None:
    """A block that was written; None where there is none, or none of this length: it is made again."""
    try:
        stored = read_arrays(path)
        values, problems = stored["vectors"], stored["problems"]
    except (OSError, ValueError, KeyError):
        return None
    whole = values.ndim == 2 and values.dtype == np.float32 and problems.dtype.kind == "U" and problems.ndim == 1
    return _Block(values, problems.tolist()) if whole and len(values) == len(problems) == count else None
