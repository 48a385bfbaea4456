"""The figures of metrics.json, from a run's counts: means, intervals, and how other people's code would count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.episodes.counts import RunCounts
from eval.episodes.matchers import matcher_words
from eval.episodes.presence import auroc, best_threshold
from eval.measures.bootstrap import LEVEL, draws, fold_seed, interval, number_groups, resample_tally
from eval.measures.metrics import SegmentationScore, class_iou, episode_tallies, means, where_present
from fewshot_seg.datasets import SegmentationDataset, fold_classes
from fewshot_seg.episodes.protocols import PROTOCOLS

_NOTHING: Final = {"auroc": None, "best_threshold": None, "best_accuracy": None}


def run_figures(
    counts: RunCounts, config: Mapping[str, Any], dataset: SegmentationDataset, samples: int, main: str
) -> dict[str, Any]:
    """What metrics.json holds.

    Args:
        counts: of the run.
        config: its config.json.
        dataset: its class names and folds are used.
        samples: resamples for the intervals; 0 gives none.
        main: the method whose figures stand at the top.

    "matcher" says of each method what its matcher knew (`matchers.matcher_words`); "presence_known", whether the
    segmenter was told that every query shows what is looked for.
    """
    runs = PROTOCOLS[config["protocol"]].runs
    seed = fold_seed(config["fold"])  # the same for all runs of a fold: their resamples are of the same queries
    results = {
        name: method_figures(counts, name, dataset.class_names, samples, seed, runs) for name in config["methods"]
    }
    left_out = list(config["classes_left_out"])
    unseen = sorted(set(fold_classes(dataset, config["fold"])) - set(counts.classes))
    names = [dataset.class_names[label - 1] for label in unseen]
    return {
        **results[main],
        "method": main,
        "methods": results,
        "bootstrap": {"samples": samples, "level": LEVEL, "over": "query images", "seed": seed},
        "protocol": config["protocol"],
        "presence_known": config["way"] == 1 and not config.get("absent"),
        "matcher": {name: matcher_words(config, name) for name in config["methods"]},
        "missing_images": len(dataset.missing),
        "queries_with_all_classes": int(counts.holding_all(main).sum()),
        "classes_left_out": left_out,
        "classes_without_episodes": [name for name in names if name not in left_out],
    }


def method_figures(
    counts: RunCounts, method: str, class_names: Sequence[str], samples: int, seed: int = 0, runs: int = 1
) -> dict[str, Any]:
    """One method's figures: shares in [0, 1], None for what is undefined.

    "miou", "fb_iou", "binary_iou", "per_class" and "episodes" of all episodes; "intervals" of the first four;
    "per_shot", by the number of supports of a class; "as_panet", see `panet_figures`; "presence", see
    `presence_figures`; "holding_all", of the episodes whose query holds all of their classes; "boundary_f"
    and "boundary_per_class" where outlines were counted.
    """
    figures = counts.score(method).to_dict(class_names)
    shots = np.unique(counts.shots).tolist()
    scores = {str(shot): counts.score(method, counts.shots == shot) for shot in shots}
    per_shot = {name: score.to_dict(class_names) for name, score in scores.items()}
    return {
        **figures,
        "intervals": _intervals(counts, method, class_names, samples, seed),
        "per_shot": per_shot,
        "as_panet": panet_figures(counts, method, runs),
        "presence": presence_figures(counts, method, samples, seed),
        "holding_all": counts.score(method, counts.holding_all(method)).to_dict(class_names),
        **boundary_figures(counts, method, class_names),
    }


def panet_figures(counts: RunCounts, method: str, runs: int = 1) -> dict[str, Any]:
    """Class mean IoU and binary IoU as PANet's code counts them, with their spread over its runs.

    A class that a query lacks doesn't count there, whatever was given to it (`metrics.where_present`); the
    figures are means over runs, the spread is the standard deviation of all runs (numpy's, divided by n).
    """
    moved = where_present(counts.confusion[method])
    scores = []
    for places in np.array_split(np.arange(len(counts.queries)), runs):
        score = SegmentationScore(counts.classes)
        score.add_all(counts.labels[places], moved[places])
        scores.append(score)
    each = {name: [getattr(score, name) for score in scores] for name in ("miou", "binary_iou")}
    values = {name: float(np.mean(listed)) for name, listed in each.items()}
    spread = {f"{name}_std": float(np.std(listed)) for name, listed in each.items()}
    return {name: _plain(value) for name, value in (values | spread).items()} | {"runs": runs}


def presence_figures(counts: RunCounts, method: str, samples: int = 0, seed: int = 0) -> dict[str, Any]:
    """How (episode, class) pairs that the query holds are told from those that it lacks.

    Args:
        counts: of the run.
        method: one of its methods.
        samples: resamples of the query images for the interval; 0 gives none.
        seed: of these.

    Returns:
        "present", "absent": how many there are. Of the masks: "present_found" and "absent_left_empty", the shares
        that are so, and "accuracy", the mean of the two. Of the scores, where the method gives any: "auroc" with
        "auroc_interval", and "best_threshold" with "best_accuracy", see `best_threshold`, chosen on these very pairs.
        None for what is undefined.
    """
    present = counts.present(method)  # (E, N)
    absent = (counts.labels > 0) & ~present
    hints_for = counts.confusion[method].sum(1)[:, 1:] > 0
    found, left = _share(hints_for, present), _share(~hints_for, absent)
    figures: dict[str, Any] = {
        "present": int(present.sum()),
        "absent": int(absent.sum()),
        "present_found": _plain(found),
        "absent_left_empty": _plain(left),
        "accuracy": _plain((found + left) / 2),
    }
    return figures | _of_scores(counts, method, present, samples, seed)


def boundary_figures(counts: RunCounts, method: str, class_names: Sequence[str]) -> dict[str, Any]:
    """{"boundary_f", "boundary_per_class"}: mean of classes of the mean of their episodes' F; {} if not counted.

    Episodes with neither a true nor a predicted outline of a class don't count for it.
    """
    if method not in counts.boundary:
        return {}
    from eval.measures.boundary import boundary_f

    scores = boundary_f(counts.boundary[method])  # (E, N)
    per_class = {}
    for label in counts.classes:
        own = scores[(counts.labels == label) & ~np.isnan(scores)]
        if own.size:
            per_class[class_names[label - 1]] = math.fsum(own.tolist()) / own.size
    mean = math.fsum(per_class.values()) / len(per_class) if per_class else None
    return {"boundary_f": mean, "boundary_per_class": per_class}


def _intervals(counts: RunCounts, method: str, class_names: Sequence[str], samples: int, seed: int) -> dict[str, Any]:
    """Name -> [low, high], and {"per_class": {name: [low, high]}}; {} without resamples."""
    if not samples:
        return {}
    classes = counts.classes
    tallies = episode_tallies(counts.labels, counts.confusion[method], classes)
    drawn = resample_tally(tallies, number_groups(counts.queries), samples, seed)
    ious = class_iou(drawn)  # (B, C)
    per_class = {class_names[label - 1]: interval(ious[:, place]) for place, label in enumerate(classes)}
    return {name: interval(values) for name, values in means(drawn).items()} | {"per_class": per_class}


def _of_scores(counts: RunCounts, method: str, present: NDArray[np.bool_], samples: int, seed: int) -> dict[str, Any]:
    if method not in counts.scores:
        return {}
    episodes, ways = np.nonzero(counts.labels)
    scores, shown = counts.scores[method][episodes, ways], present[episodes, ways]
    if shown.all() or not shown.any() or np.isnan(scores).any():
        return dict(_NOTHING)
    threshold, accuracy = best_threshold(scores, shown)
    figures = {"auroc": float(auroc(scores, shown)[0]), "best_threshold": threshold, "best_accuracy": accuracy}
    if not samples:
        return figures
    groups = number_groups(counts.queries)[episodes]  # (P,)
    drawn = [
        auroc(scores, shown, weights[:, groups].astype(np.float64))
        for weights in draws(int(groups.max()) + 1, samples, seed)
    ]
    return figures | {"auroc_interval": interval(np.concatenate(drawn))}


def _share(hits: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float((hits & of).sum() / of.sum()) if of.any() else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
