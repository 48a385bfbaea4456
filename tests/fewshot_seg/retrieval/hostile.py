"""Run as a program, alone with one thread: children that change an index at once, or are killed while they do.

Forked children start in no time, which a process of many threads must not have; so this is no part of the test process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

import fewshot_seg as fs
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.retrieval import store

KILLS = 20


def vectors_of(index: fs.Index) -> dict[str, bytes]:
    return {path: index.vectors[row].tobytes() for row, path in enumerate(index.paths)}


def child(task: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            task()
        except Exception:  # noqa: BLE001 - pytest is not here to show it
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def add_at_once(folder: Path, embedder: Embedder, images: list[str]) -> None:
    """Every image is added by a child of its own; each waits for its turn."""

    def add(image: str) -> None:
        fs.Index.load(folder, embedder).add(image, on_wait=lambda: None)

    for pid in [child(lambda image=image: add(image)) for image in images]:  # type: ignore[misc]
        assert os.waitpid(pid, 0)[1] == 0
    assert set(images) <= set(fs.Index.load(folder, verify=True).paths)


def kill(folder: Path, embedder: Embedder, images: list[str]) -> None:
    """A child changes the index over and over and is killed at any moment; what is left is the old index or the new."""
    copy = folder.with_name("copy")
    index = fs.Index.load(folder, embedder)
    index.remove(images)
    index.save(copy)
    old = vectors_of(index)
    new = old | vectors_of(fs.Index.build(images, embedder))

    def change() -> None:
        while True:
            changing = fs.Index.load(folder, embedder)
            changing.add(images)
            changing.save(copy)
            changing.remove(images)
            changing.rebuild()
            changing.save(copy)

    for number in range(KILLS):
        pid = child(change)
        time.sleep(0.05 + 0.03 * number)
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "the child ended by itself"
        for where in (folder, copy):
            assert vectors_of(fs.Index.load(where, verify=True)) in (old, new)
        index = fs.Index.load(folder, embedder)
        index.add(images)  # nothing that was left stands in the way
        assert vectors_of(fs.Index.load(folder)) == new
        assert len(list(folder.glob("vectors-*"))) == 1
        index.remove(images)


if __name__ == "__main__":
    torch.set_num_threads(1)
    store.PART_ROWS = 1  # type: ignore[misc]
    where, checkpoint, *files = sys.argv[1:]
    own = fs.load_embedder(checkpoint, device="cpu")
    add_at_once(Path(where), own, files)
    kill(Path(where), own, files)
