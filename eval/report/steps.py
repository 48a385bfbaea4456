"""The steps on the way to a prediction, worked out again for the episodes that a report draws."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from eval.episodes.methods import episode_query, episode_supports, hints_in
from eval.episodes.segmentation import weights_digest
from eval.report.task import Network
from eval.runs.threads import single_threaded
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.errors import FewShotError
from fewshot_seg.segmentation.results import Segmentation
from fewshot_seg.segmentation.segmenter import Segmenter, SegmenterOptions
from fewshot_seg.streams import Track, ordered_map

_MOST_WORKERS = 4  # each holds an image and its maps


@dataclass(frozen=True)
class Steps:
    """Results with attention and trimap, by the episodes' places; `problem` says why there are none."""

    found: Mapping[int, Segmentation] = field(default_factory=dict)
    problem: str = ""


def recompute(
    config: Mapping[str, Any],
    method: str,
    dataset: SegmentationDataset,
    episodes: Sequence[Episode],
    places: Sequence[int],
    network: Network,
    track: Track,
) -> Steps:
    """Segment some episodes again as the run's method did; without its weights there is a problem to tell.

    Args:
        config: the run's.
        method: whose steps. One that has none, a blind baseline, gives no steps and no problem.
        dataset: what the run was made on.
        episodes: the run's.
        places: which of them.
        network: see there.
        track: shows progress.

    Raises:
        ImageError, DataError: an image or mask can't be read.
    """
    options = (config.get("segmenter") or {}).get(method)
    if options is None or not places:
        return Steps()
    try:
        embedder = network.embedder(config["weights"], config["device"], config["weights_sha256"], weights_digest)
        segmenter = Segmenter(embedder, SegmenterOptions.from_dict(options))
    except FewShotError as error:
        return Steps(problem=str(error))
    hints = hints_in(config, method)

    def segment(place: int) -> Segmentation:
        supports = episode_supports(dataset, episodes[place], hints.supports)
        return segmenter.segment(episode_query(dataset, episodes[place], hints.query), supports)

    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    with single_threaded() as one_thread, ThreadPoolExecutor(workers, "drawing", one_thread) as pool:
        results = ordered_map(pool, segment, places, ahead=2 * workers)
        return Steps(dict(zip(places, track(results, len(places), "drawing"), strict=True)))
