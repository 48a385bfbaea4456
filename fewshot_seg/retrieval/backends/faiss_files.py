"""FAISS: flat (exact, as a comparison), IVF-PQ (small: a few dozen bytes a vector) and HNSW (fast: a graph)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.imaging.export import atomic_file
from fewshot_seg.retrieval.backends import Kind, load_library
from fewshot_seg.retrieval.vectors import Vectors
from fewshot_seg.streams import Track

LEAST_FOR_IVFPQ: Final = 2000  # fewer vectors can't train 256 centroids for each part; and exact search is fast
_CHUNK: Final = 16_384  # rows at once
_LINKS, _BREADTH = 16, 80  # of an HNSW graph, while it is built
_TRAINING: Final = 50  # vectors a list that IVF-PQ is trained on
_BYTES_A_PART: Final = 8  # dimensions that one byte of a PQ code stands for


@dataclass(frozen=True, eq=False)
class FaissBackend:
    """A FAISS index whose row n is row n of ours. Its breadth of search grows with the number of rows asked for."""

    faiss_index: Any

    def propose(self, vectors: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """See `Backend`."""
        faiss = load_library("faiss")
        # Set on the index: `search(params=...)` is gone once anything imports faiss.contrib.torch_utils.
        if isinstance(self.faiss_index, faiss.IndexHNSW):
            self.faiss_index.hnsw.efSearch = max(64, 2 * count)
        elif isinstance(self.faiss_index, faiss.IndexIVF):
            self.faiss_index.nprobe = max(8, self.faiss_index.nlist // 16)
        _, rows = self.faiss_index.search(np.ascontiguousarray(vectors), count)
        return np.asarray(rows, np.int64)


def build_faiss(kind: Kind, vectors: Vectors, track: Track, threads: int | None = None) -> Any:
    """A FAISS index of all vectors, read in chunks. By one thread an HNSW graph is always the same.

    `vectors` (N,D) are of unit norm, N >= 1. `threads` are FAISS's, for the whole process; None leaves its own number.

    Raises:
        ConfigError: FAISS isn't installed, or there are too few vectors for IVF-PQ.
    """
    faiss = load_library("faiss")
    if threads is not None:
        faiss.omp_set_num_threads(threads)
    count, dim = vectors.shape
    if kind == "faiss-ivfpq":
        made = _trained(faiss, vectors)
    elif kind == "faiss-hnsw":
        made = faiss.IndexHNSWFlat(dim, _LINKS, faiss.METRIC_INNER_PRODUCT)
        made.hnsw.efConstruction = _BREADTH
    else:
        made = faiss.IndexFlatIP(dim)
    for rows in track(_chunks(vectors), -(-count // _CHUNK), f"building {kind}"):
        made.add(np.ascontiguousarray(rows))
    return made


def write_faiss(path: Path, faiss_index: Any) -> int:
    """Write it whole or not at all; returns its size in bytes. OutputError: it can't be written."""
    faiss = load_library("faiss")
    with atomic_file(path) as stream:
        faiss.write_index(faiss_index, faiss.PyCallbackIOWriter(stream.write))
    return path.stat().st_size


def read_faiss(path: Path, size: int) -> FaissBackend:
    """The backend that `write_faiss` wrote.

    Raises:
        DataError: the file is missing, cut short or damaged. ConfigError: FAISS isn't installed.
    """
    faiss = load_library("faiss")
    try:
        there = path.stat().st_size
        if there != size:
            raise DataError(f"{describe(path)}: is damaged ({there} bytes, not {size}); run 'index accelerate' again")
        return FaissBackend(faiss.read_index(str(path)))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{describe(path)}: cannot be read ({reason}); run 'index accelerate' again") from error


def _chunks(vectors: Vectors) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), _CHUNK):
        yield vectors[start : start + _CHUNK]


def _trained(faiss: Any, vectors: Vectors) -> Any:
    """An empty IVF-PQ index, trained on evenly spaced rows; FAISS's k-means begins with a fixed seed."""
    count, dim = vectors.shape
    if count < LEAST_FOR_IVFPQ:
        raise ConfigError(f"faiss-ivfpq needs {LEAST_FOR_IVFPQ} images or more, not {count}; search exactly")
    lists = max(16, round(math.sqrt(count) * 1.5))
    parts = max(part for part in range(1, max(1, dim // _BYTES_A_PART) + 1) if dim % part == 0)
    made = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, lists, parts, 8, faiss.METRIC_INNER_PRODUCT)
    step = max(1, count // (_TRAINING * lists))
    made.train(np.ascontiguousarray(vectors[::step]))
    return made
