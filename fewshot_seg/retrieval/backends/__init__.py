"""Other ways than exact search to the nearest vectors: one small protocol, one module a library.

A backend only proposes rows. Their scores are then summed from the index's own vectors, as exact search sums them, so a
backend can miss a row, but a row that it finds has the same score and place, whatever the backend rounds or compresses.
"""

from __future__ import annotations

import importlib
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import ConfigError
from fewshot_seg.retrieval.exact import TopK
from fewshot_seg.retrieval.vectors import Vectors

EXACT: Final = "exact"

Kind: TypeAlias = Literal["faiss-flat", "faiss-ivfpq", "faiss-hnsw", "milvus"]
KINDS: Final[tuple[Kind, ...]] = ("faiss-flat", "faiss-ivfpq", "faiss-hnsw", "milvus")

_EXTRAS: Final = {"faiss": "faiss", "pymilvus": "milvus"}
_PIECE: Final = 2**22  # numbers of the gallery that are looked at again at a time


class Backend(Protocol):
    """Proposes rows of an index."""

    def propose(self, vectors: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """About the nearest `count` rows of each of (Q,D) vectors: (Q,count), -1 where there are fewer."""


def load_library(name: str) -> Any:
    """An optional library. ConfigError: it isn't installed; the message says what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{name} is not installed: pip install 'fewshot-seg[{_EXTRAS[name]}]' ({error})") from error


def rescored(vectors: Tensor, gallery: Vectors, rows: NDArray[np.int64], k: int) -> TopK:
    """The best k of the proposed rows, by the scores that exact search gives them; the lower row first among equals.

    Args:
        vectors: (Q,D) floating point.
        gallery: (N,D).
        rows: (Q,c) of the gallery, each once a query; -1 for none.
        k: at most c.

    Returns:
        (Q,k) scores and rows, on the vectors' device; rows of -1 with scores of -inf where too few were proposed.
    """
    at_once = max(1, _PIECE // max(1, rows.shape[1] * gallery.shape[1]))
    parts = [
        _best(queries, gallery, np.sort(proposed, axis=1), k)  # sorted: the lower row first among equals
        for queries, proposed in zip(
            torch.split(vectors.detach().float().cpu(), at_once),
            np.split(rows, range(at_once, len(rows), at_once)),
            strict=True,
        )
    ]
    scores, found = (torch.cat(side).to(vectors.device) for side in zip(*parts, strict=True))
    return TopK(scores, found)


def _best(queries: Tensor, gallery: Vectors, rows: NDArray[np.int64], k: int) -> tuple[Tensor, Tensor]:
    count = rows.shape[1]
    parts = torch.from_numpy(gallery[rows.clip(0).ravel()])  # (Q*c,D)
    places = torch.arange(len(queries)).repeat_interleave(count)
    scores = (queries.double()[places] * parts).sum(dim=1).float().view(-1, count)
    there = torch.from_numpy(rows)
    scores = scores.masked_fill(there < 0, -torch.inf)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return scores.gather(1, order), there.gather(1, order)
