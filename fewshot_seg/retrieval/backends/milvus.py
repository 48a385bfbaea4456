"""Milvus: a file on this machine (milvus-lite), or the same code against a server or cluster by its URI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError
from fewshot_seg.retrieval.backends import load_library
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.streams import Track

MOST: Final = 16_384  # rows that Milvus gives a query
_ROWS: Final = 1000  # in a message
_PATH_BYTES: Final = 65_535


@dataclass(frozen=True, eq=False)
class MilvusBackend:
    """A collection whose primary key `row` is the row of ours. Its fields `path` and `columns` are for other clients.

    Attributes:
        client: a `pymilvus.MilvusClient`.
        collection: its name there.
        uri: where, for messages.
    """

    client: Any
    collection: str
    uri: str

    def propose(self, vectors: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """See `Backend`."""
        count = min(count, MOST)
        found = np.full((len(vectors), count), -1, np.int64)
        with _told(self.uri):
            for start in range(0, len(vectors), _ROWS):
                part = vectors[start : start + _ROWS].tolist()
                answers = self.client.search(self.collection, data=part, limit=count, output_fields=["row"])
                for place, hits in enumerate(answers, start=start):
                    rows = [int(hit["row"] if "row" in hit else hit["id"]) for hit in hits]
                    found[place, : len(rows)] = rows
        return found


def open_milvus(uri: str, collection: str) -> MilvusBackend:
    """The backend of a collection that `fill` filled.

    Raises:
        ConfigError: pymilvus isn't installed, Milvus can't be reached, or the collection isn't there.
    """
    client = _connect(uri)
    with _told(uri):
        if not client.has_collection(collection):
            raise ConfigError(f"Milvus at {uri} has no collection {collection}; run 'index accelerate' again")
        client.load_collection(collection)
    return MilvusBackend(client, collection, uri)


def fill(uri: str, collection: str, contents: Contents, track: Track) -> MilvusBackend:
    """A collection of an index's vectors, with path and columns. What a killed program left of it is replaced.

    Raises:
        ConfigError: pymilvus isn't installed, Milvus can't be reached, or it refuses.
    """
    client = _connect(uri)
    with _told(uri):
        if client.has_collection(collection):
            client.drop_collection(collection)
        _create(client, collection, contents.identity.dim)
        count = len(contents.vectors)
        for part in track(_parts(contents), -(-count // _ROWS), "filling Milvus"):
            client.insert(collection, part)
        client.flush(collection)
        client.load_collection(collection)
    return MilvusBackend(client, collection, uri)


def drop(uri: str, collection: str) -> None:
    """Remove a collection, if it is there. ConfigError: as `open_milvus`."""
    client = _connect(uri)
    with _told(uri):
        client.drop_collection(collection)
    client.close()


def _create(client: Any, collection: str, dim: int) -> None:
    kinds = load_library("pymilvus").DataType
    schema = client.create_schema(auto_id=False)
    schema.add_field("row", kinds.INT64, is_primary=True)
    schema.add_field("path", kinds.VARCHAR, max_length=_PATH_BYTES)
    schema.add_field("columns", kinds.JSON)
    schema.add_field("vector", kinds.FLOAT_VECTOR, dim=dim)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="IP")
    client.create_collection(collection, schema=schema, index_params=index, consistency_level="Strong")


def _parts(contents: Contents) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    for number, row in enumerate(contents.rows()):
        path = row.path.encode("utf-8", "backslashreplace")[:_PATH_BYTES].decode("utf-8", "ignore")
        vector = contents.vectors[number].tolist()
        part.append({"row": number, "path": path, "columns": dict(row.columns), "vector": vector})
        if len(part) == _ROWS:
            yield part
            part = []
    if part:
        yield part


def _connect(uri: str) -> Any:
    pymilvus = load_library("pymilvus")
    with _told(uri):
        return pymilvus.MilvusClient(uri=uri)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Milvus's own errors as one line."""
    errors = load_library("pymilvus").MilvusException
    try:
        yield
    except (errors, ImportError, OSError) as error:  # milvus-lite missing is an ImportError in some versions
        reason = str(getattr(error, "message", "") or error).splitlines()[0]
        hint = "check that it runs there; for a file: pip install milvus-lite, in an existing folder"
        raise ConfigError(f"Milvus at {uri}: {reason}; {hint}") from error
