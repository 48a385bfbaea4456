"""Predictions kept as lines of JSON with COCO RLE: what is there isn't computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.methods import Method
from eval.runs import append_lines, read_lines
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.decode import describe
from fewshot_seg.episodes import Episode
from fewshot_seg.errors import DataError
from fewshot_seg.export import decode_rle, encode_rle
from fewshot_seg.streams import ordered_map

__all__ = ["Track", "decode", "finished", "predict", "predictions_file"]

Track = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""Passes items on and shows progress: (items, total, what they are)."""


def predictions_file(out: Path, method: str) -> Path:
    """Where a method's predictions are: predictions.jsonl for "ours", predictions-METHOD.jsonl for others."""
    return out / ("predictions.jsonl" if method == "ours" else f"predictions-{method}.jsonl")


def predict(
    path: Path,
    name: str,
    method: Method,
    dataset: SegmentationDataset,
    episodes: Sequence[Episode],
    workers: int,
    track: Track,
) -> None:
    """Add the predictions that the file lacks, in the episodes' order; an interruption keeps what is done.

    Raises:
        FewShotError: from the method, at the first episode that fails; DataError: the file is another run's.
    """
    waiting = episodes[len(finished(path, dataset, episodes)) :]
    if not waiting:
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="episode")
    try:
        lines = ordered_map(pool, lambda one: _line(one, method, dataset), waiting, ahead=2 * workers)
        for _ in track(append_lines(path, lines), len(waiting), name):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def finished(path: Path, dataset: SegmentationDataset, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """The predictions in a file, which must be of the first of these episodes.

    Raises:
        DataError: they are of others.
    """
    lines = read_lines(path)
    for place, line in enumerate(lines):
        expected = episodes[place].to_dict(dataset.class_names) if place < len(episodes) else {}
        if not expected or any(line.get(key) != value for key, value in expected.items()):
            raise DataError(f"{describe(path)}:{place + 1}: is not this run's episode; choose another --out")
    return lines


def decode(
    line: dict[str, Any], dataset: SegmentationDataset, episode: Episode, size: tuple[int, ...], where: str
) -> NDArray[np.uint8]:
    """The label map (H, W) of a prediction: 0 background, i + 1 the episode's i-th class.

    Args:
        line: of a predictions file.
        dataset: where the episode is from.
        episode: the episode predicted.
        size: (H, W) of the query.
        where: file and line, for messages.

    Raises:
        DataError: a mask is missing, unreadable or of another size.
    """
    labels = np.zeros(size, np.uint8)
    for number, label in enumerate(episode.classes, start=1):
        try:
            mask = decode_rle(line["masks"][dataset.class_names[label - 1]])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: a mask is missing or no COCO RLE; delete the file, run again") from error
        if mask.shape != size:
            raise DataError(f"{where}: mask {mask.shape}, but query {size}; delete the file, run again")
        labels[mask] = number
    return labels


def _line(episode: Episode, method: Method, dataset: SegmentationDataset) -> dict[str, Any]:
    """A line of predictions.jsonl: the episode, and {class: COCO RLE} of masks that don't overlap."""
    labels = method(dataset, episode)  # (H, W)
    names = [dataset.class_names[label - 1] for label in episode.classes]
    masks = {name: encode_rle(labels == number) for number, name in enumerate(names, start=1)}
    return episode.to_dict(dataset.class_names) | {"masks": masks}
