"""Accelerators: what makes searching an index in a folder faster, kept beside it. The exact vectors stay the truth.

FOLDER/accelerators/KIND.json says what was made, of which state of the index; it is written last, so one that was
interrupted doesn't count. After any change to the index an accelerator is stale, and refused until it is made again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, DataError, FewShotError, describe
from fewshot_seg.files import read_json
from fewshot_seg.imaging.export import make_folder, write_json
from fewshot_seg.retrieval.backends import KINDS, Backend, Kind, rescored
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.exact import top_k
from fewshot_seg.streams import Track

FOLDER: Final = "accelerators"
FORMAT: Final = 1
QUERIES: Final = 200  # of the index's own images, to measure recall
NEAREST: Final = 10
WIDER: Final = 4  # times as many rows are proposed as are asked for


@dataclass(frozen=True)
class Accelerator:
    """What was made.

    Attributes:
        kind: one of `KINDS`.
        fingerprint: of the index's state.
        recall: share of the 10 nearest others of up to 200 of the index's images that it finds.
        file: name of FAISS's file.
        bytes: its size.
        uri: where Milvus is; None is a file beside the index.
        collection: its name there.
    """

    kind: Kind
    fingerprint: str
    recall: float
    file: str = ""
    bytes: int = 0
    uri: str | None = None
    collection: str = ""


def check_kind(kind: str) -> Kind:
    """The kind, if it is one. ConfigError otherwise."""
    if kind not in KINDS:
        raise ConfigError(f"unknown accelerator {kind!r}: choose {', '.join(KINDS)}")
    return kind


def fingerprint(contents: Contents) -> str:
    """Names the state of an index in a folder: another one as soon as any image comes, goes or changes.

    Raises:
        ConfigError: an index in memory.
    """
    if contents.folder is None:
        raise ConfigError("an index in memory is searched exactly; save it, and load it from its folder")
    return contents.fingerprint()


def accelerate(
    contents: Contents, kind: Kind, track: Track, uri: str | None = None, threads: int | None = None
) -> Accelerator:
    """Make an accelerator of an index in a folder; one of the same kind is replaced when the new one is finished.

    `uri` says where Milvus is, None for a file beside the index. `threads` are FAISS's.

    Raises:
        ConfigError: an index in memory or without images, a library that isn't installed, or Milvus can't be reached.
        OutputError: it can't be written.
    """
    state = fingerprint(contents)
    assert contents.folder is not None
    if uri is not None and kind != "milvus":
        raise ConfigError(f"a URI is for milvus, not for {kind}; leave it out")
    if not len(contents.vectors):
        raise ConfigError(f"{describe(contents.folder)}: has no images; add some first")
    before = _read(contents.folder, kind, quiet=True)
    folder = make_folder(contents.folder / FOLDER)
    backend: Backend
    if kind == "milvus":
        from fewshot_seg.retrieval.backends.milvus import fill

        # Of its own for each run: a server may hold several indexes, and the old one serves until this is finished.
        collection = f"fewshot_seg_{state[:16]}_{secrets.token_hex(4)}"
        backend = fill(_place(folder, uri), collection, contents, track)
        made = Accelerator(kind, state, recall_of(contents, backend), uri=uri, collection=collection)
    else:
        from fewshot_seg.retrieval.backends.faiss_files import FaissBackend, build_faiss, write_faiss

        built = build_faiss(kind, contents.vectors, track, threads)
        name = f"{kind}-{secrets.token_hex(8)}.faiss"
        size = write_faiss(folder / name, built)
        made = Accelerator(kind, state, recall_of(contents, FaissBackend(built)), name, size)
    write_json(folder / f"{kind}.json", {"format": FORMAT, **asdict(made)})
    _clear(folder, kind, made, before)
    return made


def open_backend(contents: Contents, kind: Kind) -> Backend:
    """The accelerator of an index, to search with.

    Raises:
        ConfigError: there is none, it is stale, or a library is missing. DataError: its file is damaged.
    """
    state = fingerprint(contents)
    assert contents.folder is not None
    made = _read(contents.folder, kind)
    name, folder = describe(contents.folder), contents.folder / FOLDER
    again = f"run 'fewshot-seg index accelerate {name} --with {kind}'"
    if made is None:
        raise ConfigError(f"{name}: has no {kind}; {again}, or search exactly")
    if made.fingerprint != state:
        raise ConfigError(f"{name}: has changed since its {kind} was made; {again} again, or search exactly")
    if kind == "milvus":
        from fewshot_seg.retrieval.backends.milvus import open_milvus

        return open_milvus(_place(folder, made.uri), made.collection)
    from fewshot_seg.retrieval.backends.faiss_files import read_faiss

    return read_faiss(folder / made.file, made.bytes)


def proposals(backend: Backend, vectors: NDArray[np.float32], k: int, images: int) -> NDArray[np.int64]:
    """(Q,c) rows that are looked at for the best k of `images`."""
    return backend.propose(vectors, min(images, max(WIDER * k, 2 * NEAREST)))


def recall_of(contents: Contents, backend: Backend) -> float:
    """The share of their nearest others, by exact search, that evenly spaced images of the index find; 1 if alone."""
    count = len(contents.vectors)
    own = np.unique(np.linspace(0, count - 1, min(count, QUERIES)).round().astype(np.int64))
    queries, k = torch.from_numpy(contents.vectors[own]), min(NEAREST + 1, count)
    truth = top_k(queries, cast(np.ndarray, contents.vectors), k).rows
    found = rescored(queries, contents.vectors, proposals(backend, queries.numpy(), k, count), k).rows
    hits = total = 0
    for row, right, there in zip(own.tolist(), truth.tolist(), found.tolist(), strict=True):
        wanted = [one for one in right if one != row][:NEAREST]
        hits += len(set(wanted) & set(there))
        total += len(wanted)
    return hits / total if total else 1.0


def _place(folder: Path, uri: str | None) -> str:
    return str(folder / "milvus.db") if uri is None else uri


def _read(folder: Path, kind: Kind, quiet: bool = False) -> Accelerator | None:
    path = folder / FOLDER / f"{kind}.json"
    try:
        values = read_json(path)
        if values.pop("format") > FORMAT:
            raise DataError(f"{describe(path)}: a newer fewshot-seg wrote it; upgrade")
        return Accelerator(**values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if quiet:
            return None
        raise DataError(f"{describe(path)}: is damaged ({error}); run 'index accelerate' again") from error


def _clear(folder: Path, kind: Kind, made: Accelerator, before: Accelerator | None) -> None:
    """Remove what was there before, and what interrupted runs have left."""
    steps: list[Callable[[], object]] = []
    if kind != "milvus":
        ours = re.compile(rf"{kind}-[0-9a-f]{{16}}\.faiss").fullmatch
        steps += [
            path.unlink
            for path in folder.iterdir()
            if ours(path.name) and path.name != made.file and path.is_file() and not path.is_symlink()
        ]
    elif before is not None and before.collection != made.collection:
        from fewshot_seg.retrieval.backends.milvus import drop

        uri, collection = _place(folder, before.uri), before.collection
        steps.append(lambda: drop(uri, collection))
    for step in steps:
        with suppress(OSError, FewShotError):  # what can't be cleared away does no harm
            step()
