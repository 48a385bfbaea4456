"""Predictions kept as lines of JSON with COCO RLE: what is there isn't computed again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.episodes.methods import Method
from eval.runs.folder import append_lines, read_lines
from eval.runs.shards import ALONE, PLACE, Shard, drop_parts, mark_done, part_file, read_parts, wait_for_others
from eval.runs.threads import single_threaded
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.errors import DataError, describe
from fewshot_seg.imaging.geometry import decode_rle, encode_rle
from fewshot_seg.streams import Track, ordered_map

_MOST_WORKERS = 8
_DIGITS = 6  # of a score


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
    shard: Shard = ALONE,
) -> int:
    """Add the predictions that the file lacks, in the episodes' order; an interruption keeps what is done.

    One of several processes writes its share into a file of its own (`shards.part_file`). What is in such files
    is believed and moved to its place by a process that is the only one.

    Args:
        path: from `predictions_file`.
        name: the method's, for progress.
        method: an episode to its label map.
        dataset: where the episodes are from.
        episodes: all of the run.
        workers: episodes at a time.
        track: shows progress.
        shard: which share is this process's.

    Returns:
        How many were added.

    Raises:
        FewShotError: from the method, at the first episode that fails; DataError: the file is another run's.
    """
    done, known = _known(path, dataset, episodes)
    alone = shard.count == 1
    places = [place for place in shard.share(len(episodes)) if place >= done and (alone or place not in known)]
    if not places:
        return 0

    def line(place: int) -> dict[str, Any]:
        if alone:
            return known.get(place) or _line(episodes[place], method, dataset)
        return {PLACE: place} | _line(episodes[place], method, dataset)

    with single_threaded() as one_thread:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="episode", initializer=one_thread)
        try:
            lines = ordered_map(pool, line, places, ahead=2 * workers)
            for _ in track(append_lines(path if alone else part_file(path, shard), lines), len(places), name):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    return len(places)


def predict_run(
    out: Path,
    methods: Mapping[str, Method],
    dataset: SegmentationDataset,
    episodes: Sequence[Episode],
    workers: int | None,
    track: Track,
    shard: Shard = ALONE,
) -> None:
    """Every method's predictions; this process's share of them, if there are several, of which the leader waits.

    Args:
        out: the run's folder.
        methods: name -> method.
        dataset: where the episodes are from.
        episodes: all of the run.
        workers: episodes at a time; None means this process's part of the machine's processors, but at most 8.
        track: shows progress.
        shard: which share is this process's.

    Raises:
        FewShotError: as `predict`.
    """
    workers = workers or max(1, min((os.cpu_count() or 1) // shard.local_count, _MOST_WORKERS))
    files = {name: predictions_file(out, name) for name in methods}
    each = [predict(files[name], name, one, dataset, episodes, workers, track, shard) for name, one in methods.items()]
    if not shard.leads:
        if any(each):
            mark_done(out, shard)
        return
    if shard.count > 1:
        missing = {place for path in files.values() for place in _missing(path, dataset, episodes)}
        wait_for_others(out, shard, ranks={place % shard.count for place in missing})
        for name, method in methods.items():  # to move the shares to their places
            predict(files[name], f"{name}, joining", method, dataset, episodes, workers, track)
    drop_parts(out)


def finished(path: Path, dataset: SegmentationDataset, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """The predictions in a file, which must be of the first of these episodes. DataError: they are of others."""
    lines = read_lines(path)
    for place, line in enumerate(lines):
        if not _is_of(line, dataset, episodes, place):
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
            labels[decode_rle(line["masks"][dataset.class_names[label - 1]], size)] = number
        except (KeyError, TypeError) as error:
            raise DataError(f"{where}: a mask is missing; delete the file, run again") from error
        except DataError as error:
            raise DataError(f"{where}: {error}; delete the file, run again") from error
    return labels


def scores_of(line: dict[str, Any], dataset: SegmentationDataset, episode: Episode, where: str) -> list[float] | None:
    """The scores of a prediction, one for each class of the episode; None where the method gives none.

    Args:
        line: of a predictions file.
        dataset: where the episode is from.
        episode: the episode predicted.
        where: file and line, for messages.

    Raises:
        DataError: a score is missing or no number.
    """
    if "scores" not in line:
        return None
    try:
        return [float(line["scores"][dataset.class_names[label - 1]]) for label in episode.classes]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: a score is missing or no number; delete the file, run again") from error


def _known(
    path: Path, dataset: SegmentationDataset, episodes: Sequence[Episode]
) -> tuple[int, dict[int, dict[str, Any]]]:
    """How many predictions the file has, and place -> line of those in shares."""
    parts = read_parts(path)  # before the file itself: shares go only when that is complete
    done = len(finished(path, dataset, episodes))
    return done, {place: line for place, line in parts.items() if _is_of(line, dataset, episodes, place)}


def _missing(path: Path, dataset: SegmentationDataset, episodes: Sequence[Episode]) -> set[int]:
    """The places that have no prediction yet."""
    done, known = _known(path, dataset, episodes)
    return set(range(done, len(episodes))) - set(known)


def _is_of(line: dict[str, Any], dataset: SegmentationDataset, episodes: Sequence[Episode], place: int) -> bool:
    """Whether a line is a prediction of the episode at a place."""
    if not 0 <= place < len(episodes):
        return False
    return all(line.get(key) == value for key, value in episodes[place].to_dict(dataset.class_names).items())


def _line(episode: Episode, method: Method, dataset: SegmentationDataset) -> dict[str, Any]:
    """A line of predictions.jsonl: the episode, {class: COCO RLE} of masks that don't overlap, and {class: score}."""
    found = method(dataset, episode)
    names = [dataset.class_names[label - 1] for label in episode.classes]
    masks = {name: encode_rle(found.labels == number) for number, name in enumerate(names, start=1)}
    line = episode.to_dict(dataset.class_names) | {"masks": masks}
    if found.scores is not None:
        line["scores"] = {name: round(float(found.scores[name]), _DIGITS) for name in names}
    return line
