"""A folder of queries in one go, beside the same queries one by one; and its memory with ten times as many."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

from eval.bench.findings import FASTER, Finding, Target, find
from eval.bench.machine import in_child, peak_mib
from eval.bench.setting import Setting, image_files
from eval.bench.timing import side_by_side
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.segmentation.segmenter import Segmenter

TOGETHER, ONE_BY_ONE = "a folder of queries, one support", "the same queries one by one, the support encoded once"
ANEW = "the same, the support encoded with each"
TARGET: Final = Target(FASTER, 1.6)
_LONGER = 10


def compare_folder(setting: Setting, folder: Path) -> list[Finding]:
    """The first image is the support, the others are the queries. DataError: no images."""
    support, *queries = image_files(setting, setting.queries + 1, folder)
    segmenter = Segmenter(load_embedder(setting.weights, setting.device))
    prepared = segmenter.prepare(support)

    def one_by_one() -> None:
        for query in queries:
            segmenter.segment(query, prepared)

    def anew() -> None:
        for query in queries:
            segmenter.segment(query, support)

    def together() -> None:
        for _ in segmenter.segment_many(queries, prepared):
            pass

    variants = {ONE_BY_ONE: one_by_one, ANEW: anew, TOGETHER: together}
    single, again, many = side_by_side(variants, len(queries), setting.few_rounds, setting.track)
    few, all_ = in_child(folder_memory, setting.weights, setting.device, [support, *queries], _LONGER * len(queries))
    note = f"peak memory {few:.0f} MiB after {len(queries)} queries, {all_:.0f} MiB after {_LONGER * len(queries)}"
    items = f"{len(queries)} queries"
    memory = {"peak_mib": {str(len(queries)): few, str(_LONGER * len(queries)): all_}, "note": note}
    return [
        find(TOGETHER, ONE_BY_ONE, items, (single, many), TARGET, **memory),
        find(TOGETHER, ANEW, items, (again, many), TARGET),
    ]


def folder_memory(weights: str, device: str, files: list[Path], most: int) -> tuple[float, float]:
    """The process's peak in MiB after each file was a query once, and after `most` queries, all one stream.

    The first of the files is the support, the others are the queries, in turn.
    """
    support, *queries = files
    segmenter = Segmenter(load_embedder(weights, device))
    stream = itertools.islice(itertools.cycle(queries), most)
    peaks = []
    for number, _ in enumerate(segmenter.segment_many(stream, segmenter.prepare(support)), start=1):
        if number in (len(queries), most):
            peaks.append(peak_mib())
    return peaks[0], peaks[-1]
