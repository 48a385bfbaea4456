"""Predictions that another program wrote: checked at the border, and made a run of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.episodes.counts import file_digest
from eval.episodes.methods import METHODS
from eval.episodes.predictions import predictions_file
from eval.episodes.scoring import EPISODES, Scoring, open_run_dataset, read_config, score_run
from eval.runs.folder import claim_run, held_folder
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode, read_episodes, write_episodes
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.files import regular
from fewshot_seg.imaging.export import atomic_file
from fewshot_seg.imaging.geometry import decode_rle
from fewshot_seg.streams import Track

_OURS = ("weights_sha256", "embedder", "plugins", "code_sha256", "libraries")
_FREE = ("root", "split_list", "episodes_file")


def score_brought(
    run: Path,
    predictions: Path,
    name: str,
    out: Path,
    data: tuple[Path | None, Path | None] = (None, None),
    scoring: Scoring | None = None,
    track: Track | None = None,
) -> dict[str, Any]:
    """Score another program's predictions of a run's episodes, in a run's folder of their own.

    Args:
        run: the folder that the episodes are from.
        predictions: lines of JSON, one for each episode, in any order (docs/plugins.md).
        name: what the method is to be called.
        out: gets config.json, episodes.jsonl, the predictions, counts.npz and metrics.json.
        data: the data's folder and split list now; None means where they were.
        scoring: how.
        track: shows progress.

    Returns:
        What is in metrics.json.

    Raises:
        ConfigError: a name of ours, or `out` holds something else.
        DataError: a line that isn't a prediction of one of the episodes, or an episode without one.
    """
    if name in METHODS or not re.fullmatch(r"\w[\w.-]*", name):
        raise ConfigError(f"--name {name!r}: choose letters, digits, - and _, and no method of ours")
    config = read_config(run)
    dataset = open_run_dataset(config, *data)
    episodes = read_episodes(run / EPISODES, dataset.class_names)
    lines = check_predictions(predictions, dataset, episodes)
    network: dict[str, Any] = {"weights": None, "device": None, "segmenter": {}, "matcher": None}
    told = {"methods": [name], "support_hint": None, "query_hint": None, "predictions": file_digest(predictions)}
    config = {key: value for key, value in config.items() if key not in _OURS} | network | told
    with held_folder(out, dataset.root):
        claim_run(out, config, free=_FREE)
        write_episodes(out / EPISODES, episodes, dataset.class_names)
        with atomic_file(predictions_file(out, name)) as stream:
            stream.writelines(json.dumps(line).encode() + b"\n" for line in lines)
        return score_run(out, config, dataset, scoring, track)


def check_predictions(path: Path, dataset: SegmentationDataset, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
    """The predictions in a file, in the episodes' order, as our own program would have written them.

    Raises:
        DataError: with file and line, what is not as documented.
    """
    found: dict[int, dict[str, Any]] = {}
    places = {one.index: place for place, one in enumerate(episodes)}
    try:
        texts = regular(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{describe(path)}: cannot be read ({error}); give a file of JSON lines") from error
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            index = line["index"] if isinstance(line, dict) else None
            if type(index) is not int or index not in places:
                raise DataError(f"index {index!r} is of no episode; they are {min(places)} to {max(places)}")
            if index in found:
                raise DataError(f"episode {index} has a prediction already")
            found[index] = _checked(line, dataset, episodes[places[index]])
        except (ValueError, KeyError) as error:
            raise DataError(f"{describe(path)}:{number}: no JSON with index, query and masks ({error})") from error
        except DataError as error:
            raise DataError(f"{describe(path)}:{number}: {error}; mend the program that wrote it") from error
    if missing := [one.index for one in episodes if one.index not in found]:
        raise DataError(f"{describe(path)}: no prediction of episode {missing[0]}, nor of {len(missing) - 1} others")
    return [found[one.index] for one in episodes]


def _checked(line: Mapping[str, Any], dataset: SegmentationDataset, episode: Episode) -> dict[str, Any]:
    told = episode.to_dict(dataset.class_names)
    for key in ("query", "supports"):
        if key in line and line[key] != told[key]:
            raise DataError(f"{key} {line[key]!r} is not episode {episode.index}'s, {told[key]!r}")
    if "query" not in line:
        raise KeyError("query")
    names, size = list(told["supports"]), dataset.mask(episode.query).shape
    masks, scores = _of_classes(line["masks"], names, "masks"), line.get("scores")
    covered = np.zeros(size, bool)
    for name in names:
        try:
            mask = decode_rle(masks[name], size)
        except DataError as error:
            raise DataError(f"mask of {name!r}: {error}") from error
        if (covered & mask).any():
            raise DataError(f"mask of {name!r} overlaps another class's: a pixel is one class's")
        covered |= mask
    kept = told | {"masks": {name: {key: masks[name][key] for key in ("size", "counts")} for name in names}}
    if scores is None:
        return kept
    for name, score in _of_classes(scores, names, "scores").items():
        if type(score) not in (int, float) or not 0 <= score <= 1:
            raise DataError(f"score {score!r} of {name!r} is no number from 0 to 1")
    return kept | {"scores": dict(scores)}


def _of_classes(values: Any, names: Sequence[str], what: str) -> Mapping[str, Any]:
    if not isinstance(values, dict) or set(values) != set(names):
        given = sorted(values) if isinstance(values, dict) else values
        raise DataError(f"{what} are of {given}, not of the episode's classes {list(names)}")
    return values
