"""`Collection`: images by their embeddings, in memory or in a folder, and what changes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import torch

from fewshot_seg.errors import DataError, describe
from fewshot_seg.network.embedding import Embedder, for_retrieval, load_embedder
from fewshot_seg.retrieval.contents import Contents, empty_contents, open_contents
from fewshot_seg.retrieval.folder import claim, holds_index
from fewshot_seg.retrieval.identity import Identity, check_same, identity_of, load_for, sized
from fewshot_seg.retrieval.ingest import Changes, Options, ingest, refuse_others
from fewshot_seg.retrieval.rows import rebased, with_root
from fewshot_seg.retrieval.sources import Columns, Found, Paths, find_items, named_rows, plan_update
from fewshot_seg.retrieval.store import Store
from fewshot_seg.retrieval.vectors import Vectors
from fewshot_seg.streams import Track

VERIFY_UP_TO: Final = 20_000  # images that are compared with their checksums at every load


class Collection:
    """Images by their embeddings, without the means to search them; see `index.Index`.

    One that was built into a folder, or loaded from one, lives there: a change changes the folder, too, all of it or
    nothing. Several processes take turns; who searches meanwhile sees the collection as it was when it was loaded.
    `changes` is what the last operation did, and which inputs it left out, and why.
    """

    def __init__(
        self, contents: Contents, embedder: Embedder | None = None, device: str | torch.device = "auto"
    ) -> None:
        self._contents = contents
        self._embedder = embedder
        self._device = device
        self.changes = Changes()

    @classmethod
    def build(
        cls,
        paths: Paths,
        embedder: Embedder | str = "default",
        out: str | os.PathLike[str] | None = None,
        *,
        size: int | None = None,
        columns: Columns | None = None,
        workers: int | None = None,
        batch_size: int = 16,
        progress: Track | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Self:
        """An index of the images in files, folders (searched through) and glob patterns.

        Images that cannot be read are left out and listed in `changes.failures`. With `out`, memory stays flat, and an
        interrupted build goes on where it stopped and ends in the same.

        Args:
            paths: one alone need not be in a list.
            embedder: whose vectors; a name or a checkpoint is loaded.
            out: the index's folder; None builds it in memory, to be saved or not.
            size: pixels a side at which images are embedded; None as `for_retrieval` has it.
            columns: what else is known of the images, name -> a text for each of `paths`, which are then files.
            workers: threads that read images; None means the machine's processors, but at most 8.
            batch_size: images in the network at a time.
            progress: shows it: (items, total, what) -> the items.
            on_wait: called once if another process is at work in `out`, which is then waited for; None refuses.

        Raises:
            DataError: no images, or none that can be read; columns that don't fit.
            ConfigError: `out` holds an index of other images or another embedder, or other files.
            OutputError: `out` can't be written.
        """
        options = Options(workers, batch_size, progress)
        model = load_embedder(embedder) if isinstance(embedder, str) else embedder
        identity = identity_of(for_retrieval(model, size))
        index = cls(empty_contents(identity, None if out is None else _absolute(out)), model)
        found = find_items(paths, columns)
        if not found.items:  # said before a folder is made
            raise DataError(found.failures[0].error)
        with index._edit(on_wait, start=True):
            refuse_others(index._contents, found.items)
            index._take_in(found, options)
        return index

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        embedder: Embedder | str | None = None,
        *,
        device: str | torch.device = "auto",
        verify: bool | None = None,
    ) -> Self:
        """The index in a folder, its vectors mapped into memory.

        Args:
            folder: where it was built or saved.
            embedder: for queries; None loads the one that the index was made with, when it is first needed.
            device: where that one is loaded.
            verify: compare everything with its checksum; None does so up to 20,000 images. Sizes always are.

        Raises:
            DataError: no index, one whose build was interrupted, or a damaged file, which is named.
            ConfigError: the embedder is not the one that the index was made with.
        """
        where = _absolute(folder)
        contents = open_contents(where, {True: None, False: 0, None: VERIFY_UP_TO}[verify])
        if not contents.config.complete:
            raise DataError(f"{describe(where)}: its build was interrupted; run it again, and it goes on from there")
        index = cls(contents, device=device)
        if embedder is not None:
            index._use(load_embedder(embedder, device=device) if isinstance(embedder, str) else embedder)
        return index

    def save(self, folder: str | os.PathLike[str], *, on_wait: Callable[[], None] | None = None) -> None:
        """Write a copy of the index into a folder; one that is there already is replaced, or stays if this fails.

        Raises:
            ConfigError: the folder holds other files, or another process is at work in it. OutputError: as `build`.
        """
        target = _absolute(folder)
        if target == self.folder:
            return
        with claim(target, on_wait):
            there = open_contents(target, 0) if holds_index(target) else empty_contents(self.identity, target)
            config = self._contents.config
            kept = {name: getattr(config, name) for name in ("identity", "sources", "excluded", "columns")}
            roots = rebased(config.roots, self.folder, target)
            Store(there).rewrite(self._contents, **kept, roots=roots, complete=True)

    def add(
        self,
        paths: Paths,
        *,
        columns: Columns | None = None,
        workers: int | None = None,
        batch_size: int = 16,
        progress: Track | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Changes:
        """Take more images in; those that the index has, and that did not change, are left as they are.

        Args and Raises: as `build`.
        """
        options = Options(workers, batch_size, progress)
        found = find_items(paths, columns)
        with self._edit(on_wait):
            self._take_in(found, options)
        return self.changes

    def remove(self, paths: Paths, *, on_wait: Callable[[], None] | None = None) -> Changes:
        """Take images out: by path, folder or pattern, whether or not their files are still there.

        Their vectors stay in the file, unseen, until `rebuild`, or until there are more of these than of others.
        `update` doesn't bring them back; `add` does. What names no image of the index is listed in `changes.failures`.

        Raises:
            DataError: no paths. ConfigError, OutputError: as `build`.
        """
        with self._edit(on_wait):
            contents, config = self._contents, self._contents.config
            rows, failures = named_rows(contents, paths)
            gone = ((row.path, row.root) for row in map(contents.row, rows))
            excluded = tuple(dict.fromkeys((*config.excluded, *gone))) if config.sources else ()
            self._contents = Store(contents).commit(contents.slots[rows], excluded=excluded)
            self.changes = Changes(removed=len(rows), failures=tuple(failures))
        return self.changes

    def update(
        self,
        *,
        workers: int | None = None,
        batch_size: int = 16,
        progress: Track | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Changes:
        """Follow the files: embed again what has changed, take out what is gone, take in what is new.

        New images are looked for in the folders and patterns that were given. A file has changed if its size or time
        has, and then its content. One that has changed and cannot be read keeps its old vector. The images of a folder
        that is gone as a whole stay: it may only be unmounted.

        Args and Raises: as `build`.
        """
        options = Options(workers, batch_size, progress)
        with self._edit(on_wait):
            found, vanished = plan_update(self._contents)
            self._ingest(found, options, vanished)
        return self.changes

    def rebuild(self, *, on_wait: Callable[[], None] | None = None) -> None:
        """Write the index anew, without what was removed; rows keep their order. Errors as `build`."""
        with self._edit(on_wait):
            self._contents = Store(self._contents).rewrite(self._contents, pending=True)

    def __len__(self) -> int:
        return len(self._contents.vectors)

    @property
    def folder(self) -> Path | None:
        """Where the index lives; None in memory."""
        return self._contents.folder

    @property
    def vectors(self) -> Vectors:
        """(N, D) float32 of unit norm, read from the files where it is asked for; `numpy.asarray` gives all of it."""
        return self._contents.vectors

    @property
    def paths(self) -> list[str]:
        """Every image's path, as it was given."""
        return [row.path for row in self._contents.rows()]

    @property
    def columns(self) -> dict[str, list[str]]:
        """What else is known of the images: name -> N texts, empty where nothing was given."""
        rows = [row.columns for row in self._contents.rows()] if self._contents.config.columns else []
        return {name: [row.get(name, "") for row in rows] for name in self._contents.config.columns}

    @property
    def identity(self) -> Identity:
        """Whose vectors the index holds."""
        return self._contents.identity

    @property
    def embedder(self) -> Embedder:
        """The embedder that it was made with, at the index's size. Errors as `whole_embedder`."""
        return sized(self.whole_embedder, self.identity)

    @property
    def whole_embedder(self) -> Embedder:
        """The same at its own size, which shows more of a scene.

        Raises:
            CheckpointError: its weights can't be loaded. ConfigError: they have changed.
        """
        if self._embedder is None:
            self._embedder = load_for(self.identity, self._contents.name, self._device)
        return self._embedder

    def describe(self, row: int) -> tuple[str, dict[str, str]]:
        """Image `row`: its path, as it was given, and its columns."""
        found = self._contents.row(row)
        return found.path, dict(found.columns)

    def location(self, row: int) -> str:
        """Where the file of image `row` is now (see docs/retrieval.md on moved indexes)."""
        return self._contents.locate(self._contents.row(row))

    def _use(self, embedder: Embedder) -> None:
        check_same(self.identity, identity_of(sized(embedder, self.identity)), self._contents.name)
        self._embedder = embedder

    @contextmanager
    def _edit(self, on_wait: Callable[[], None] | None, start: bool = False) -> Iterator[None]:
        """Be the only one that changes the index; what others have changed meanwhile is seen."""
        if self.folder is None:
            yield
            return
        with claim(self.folder, on_wait):
            fresh = start and not holds_index(self.folder)
            there = self._contents if fresh else open_contents(self.folder, 0)
            check_same(there.identity, self.identity, self._contents.name)
            self._contents = there
            yield

    def _take_in(self, found: Found, options: Options) -> None:
        roots, number = with_root(self._contents.config.roots, self.folder)
        self._ingest(found.counted_from(number), options, roots=roots)

    def _ingest(self, found: Found, options: Options, dropped: Sequence[int] = (), **changes: Any) -> None:
        self._contents, self.changes = ingest(self._contents, found, lambda: self.embedder, options, dropped, **changes)


def _absolute(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(folder))  # noqa: PTH100 - not resolved: the user's own name for it is kept
