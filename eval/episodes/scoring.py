"""Scoring a run from its folder: predictions and the data's masks to counts.npz and metrics.json, nothing else.

Predicting and scoring are apart, so a run can be scored again, another way, without a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.episodes.counts import COUNTS, RunCounts, empty_counts, file_digest, load_counts, save_counts
from eval.episodes.figures import run_figures
from eval.episodes.predictions import decode, finished, predictions_file, scores_of
from eval.measures.bootstrap import SAMPLES
from eval.measures.metrics import class_iou, confusion, episode_truth, mean_iou
from eval.runs.folder import CONFIG
from fewshot_seg.datasets import SegmentationDataset, open_dataset
from fewshot_seg.episodes.episode import Episode, read_episodes
from fewshot_seg.episodes.protocols import PROTOCOLS
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.files import read_json
from fewshot_seg.imaging.export import write_json
from fewshot_seg.streams import Track

EPISODES = "episodes.jsonl"
METRICS = "metrics.json"


@dataclass(frozen=True)
class Scoring:
    """How predictions are scored.

    Attributes:
        boundary: count outlines, too, for boundary F.
        samples: resamples of the bootstrap; 0 gives no intervals.

    Raises:
        ConfigError: fewer resamples than none.
    """

    boundary: bool = False
    samples: int = SAMPLES

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ConfigError(f"bootstrap {self.samples}: must be a number of resamples, or 0 for none")


@dataclass(frozen=True)
class EpisodeScore:
    """One episode's own figures: what tells good episodes from bad ones, not what a run's mean is made of.

    Attributes:
        index: the episode's.
        query: image id.
        class_ious: class name -> IoU in [0, 1], without classes in neither truth nor prediction.
        miou: their mean; NaN where there is none.
    """

    index: int
    query: str
    class_ious: dict[str, float]
    miou: float


def score_folder(
    out: Path,
    root: Path | None = None,
    split_list: Path | None = None,
    scoring: Scoring | None = None,
    track: Track | None = None,
) -> dict[str, Any]:
    """Score a finished run anew, from its folder and the data; see `score_run`.

    Args:
        out: the run's folder.
        root: where the data is now; None means where it was.
        split_list: likewise.
        scoring: how.
        track: shows progress.
    """
    config = read_config(out)
    dataset = open_run_dataset(config, root, split_list)
    return score_run(out, config, dataset, scoring, track)


def score_run(
    out: Path,
    config: Mapping[str, Any],
    dataset: SegmentationDataset,
    scoring: Scoring | None = None,
    track: Track | None = None,
) -> dict[str, Any]:
    """Write counts.npz and metrics.json of a finished run.

    Args:
        out: the run's folder, with episodes and predictions.
        config: what is in its config.json.
        dataset: what it was run on.
        scoring: how.
        track: shows progress.

    Returns:
        What is in metrics.json.

    Raises:
        DataError: predictions of other episodes, too few, or of another size than the masks.
        OutputError: the folder can't be written.
    """
    scoring = scoring or Scoring()
    episodes = read_episodes(out / EPISODES, dataset.class_names)
    counts = count_run(out, config, dataset, episodes, boundary=scoring.boundary, track=track)
    metrics = run_figures(counts, config, dataset, scoring.samples, main_method(config["methods"]))
    save_counts(out / COUNTS, counts)
    write_json(out / METRICS, metrics)
    return metrics


def count_run(
    out: Path,
    config: Mapping[str, Any],
    dataset: SegmentationDataset,
    episodes: Sequence[Episode],
    *,
    boundary: bool = False,
    track: Track | None = None,
) -> RunCounts:
    """The pixel counts of a run's predictions, reading each query's mask once. Errors as `score_run`."""
    track = track or (lambda items, total, what: iter(items))
    files = {name: predictions_file(out, name) for name in config["methods"]}
    lines = {name: _all_lines(path, dataset, episodes) for name, path in files.items()}
    counts = empty_counts(episodes, config["methods"], boundary=boundary)
    counts.sources.update({name: file_digest(path) for name, path in files.items()})
    size = PROTOCOLS[config["protocol"]].scoring_size
    by_query = sorted(range(len(episodes)), key=lambda place: episodes[place].query)
    listed: dict[str, list[int]] = {}
    for entry in dataset.entries:
        listed.setdefault(entry.image, []).append(entry.label)
    progress = track(by_query, len(by_query), "scoring")
    for query, places in itertools.groupby(progress, key=lambda place: episodes[place].query):
        labels = dataset.mask(query)
        _check_held(dataset, query, labels, listed.get(query, []))
        for place in places:
            for name, path in files.items():
                where = f"{describe(path)}:{place + 1}"
                prediction = decode(lines[name][place], dataset, episodes[place], labels.shape, where)
                _count(counts, name, place, prediction, episode_truth(labels, episodes[place].classes), size)
                _keep_scores(counts, name, place, scores_of(lines[name][place], dataset, episodes[place], where))
    return counts


def _check_held(dataset: SegmentationDataset, query: str, labels: NDArray[np.int32], listed: Sequence[int]) -> None:
    """DataError: the list says of a query that it shows a class of which its mask has no pixel."""
    held = set(np.unique(labels).tolist())
    for label in listed:
        if label not in held:
            what = f"listed as {dataset.class_names[label - 1]!r}, but its mask holds none"
            raise DataError(f"{describe(dataset.image(query))}: {what}; take it off the list")


def episode_table(out: Path, dataset: SegmentationDataset, method: str | None = None) -> list[EpisodeScore]:
    """Every episode's own IoU, in the episodes' order; from counts.npz where it is of these predictions.

    Args:
        out: a finished run's folder.
        dataset: what it was run on.
        method: None means the run's main one.

    Raises:
        DataError: as `score_run`. ConfigError: the run has no such method.
    """
    config = read_config(out)
    name = main_method(config["methods"]) if method is None else method
    if name not in config["methods"]:
        raise ConfigError(f"{describe(out)}: has no method {name!r}; it has {', '.join(config['methods'])}")
    episodes = read_episodes(out / EPISODES, dataset.class_names)
    counts = stored_counts(out, config)
    if counts is None or len(counts.queries) != len(episodes):
        counts = count_run(out, config, dataset, episodes)
    tallies = counts.tallies(name)
    ious, whole = class_iou(tallies), mean_iou(tallies)
    names = [dataset.class_names[label - 1] for label in counts.classes]
    rows = []
    for place, one in enumerate(episodes):
        seen = np.flatnonzero(~np.isnan(ious[place]))
        named = {names[column]: float(ious[place, column]) for column in seen}
        rows.append(EpisodeScore(one.index, one.query, named, float(whole[place])))
    return rows


def stored_counts(out: Path, config: Mapping[str, Any]) -> RunCounts | None:
    """A run's counts.npz, or None where it is missing or of other predictions than those there now."""
    if not (out / COUNTS).exists():
        return None
    counts = load_counts(out / COUNTS)
    current = {name: file_digest(predictions_file(out, name)) for name in config["methods"]}
    return counts if counts.sources == current else None


def read_config(out: Path, kind: str | None = "segmentation") -> dict[str, Any]:
    """The config.json of a run of some kind; None takes any. DataError: no such file, or of something else."""
    path = out / CONFIG
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{describe(path)}: cannot be read ({error}); give the folder of a run") from error
    if not isinstance(config, dict) or kind not in (None, config.get("run")):
        raise DataError(f"{describe(path)}: is not the config of a {kind or 'finished'} run; give the folder of one")
    return config


def open_run_dataset(
    config: Mapping[str, Any], root: Path | None = None, split_list: Path | None = None
) -> SegmentationDataset:
    """The data set that a run's config names, at `root` and with `split_list` if they are given."""
    stored = config["split_list"]
    chosen = split_list or (None if stored is None else Path(stored))
    missing = bool(config.get("allow_missing"))
    return open_dataset(config["dataset"], root or Path(config["root"]), chosen, allow_missing=missing)


def main_method(methods: Sequence[str]) -> str:
    """The method whose figures are the run's own."""
    return "ours" if "ours" in methods else methods[0]


def _all_lines(path: Path, dataset: SegmentationDataset, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    lines = finished(path, dataset, episodes)
    if len(lines) < len(episodes):
        place = f"{describe(path)}:{len(lines) + 1}"
        raise DataError(f"{place}: no prediction; run the evaluation to its end first")
    return lines


def _count(
    counts: RunCounts,
    method: str,
    place: int,
    prediction: NDArray[Any],
    truth: NDArray[np.int16],
    size: tuple[int, int] | None,
) -> None:
    """Count one episode (at `size`, if there is one)."""
    if size is not None:
        prediction, truth = _nearest(prediction, size), _nearest(truth, size)
    ways = int(np.count_nonzero(counts.labels[place]))
    counts.confusion[method][place, : ways + 1, : ways + 1] = confusion(prediction, truth, ways)
    if counts.boundary:
        from eval.measures.boundary import boundary_counts

        counts.boundary[method][place, :ways] = boundary_counts(prediction, truth, ways)


def _keep_scores(counts: RunCounts, method: str, place: int, scores: Sequence[float] | None) -> None:
    if scores is not None:
        table = counts.scores.setdefault(method, np.full(counts.labels.shape, np.nan))
        table[place, : len(scores)] = scores


def _nearest(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[np.int16]:
    """(H, W) labels from -1 to 254 at another size, by Pillow's nearest neighbour, as PANet's code has it."""
    from PIL import Image

    shifted = Image.fromarray((labels + 1).astype(np.uint8))
    resized = shifted.resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(resized, np.int16) - 1
